"""Export of weights to the formats and runtimes of other systems; no ROS."""
