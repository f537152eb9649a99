# make demo         plays a street through the nodes and draws detections and BEV features
# make demo-fusion  likewise with a camera: attention of one cell, and the fused features
# make test         lint, types and every test, on a fresh machine too
# make build        .venv and the package in install/, which the targets above make as well
# make params       writes config/params.yaml, its schema and docs/parameters.md from their source
# make docs         builds the documentation in build/docs; warnings are errors
# make bench        inference, transport and extraction, beside peers (THREADS="1 2" ONLY=engine|detectors|transport|extraction)
# make gpu-check    parity and times on an NVIDIA GPU, some minutes; writes gpu_report.md
# make faults       injects faults into running nodes, writes the table of docs/operations.md (20 min)
# make soak         a node under good and bad input for MINUTES=30; fails if memory grows
# make clean        removes the build, and the virtual environment with it
#
# PYTHON=python3.10   another interpreter (3.10 to 3.14)
# BAG=path TOPIC=/name GRID=ahead|around|kitti|square_200|surround|close   bag, topic and grid of the demo
# BAG=path TOPIC=/name IMAGE=/name   bag and topics of the demo with a camera

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup build demo demo-fusion test params docs bench gpu-check faults soak clean

PYTHON ?= python3
BAG ?=
TOPIC ?=
GRID ?=
IMAGE ?=
THREADS ?= 1
ONLY ?=
MINUTES ?= 30

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed -n '1,15p'

setup:
	@scripts/setup.sh "$(PYTHON)"

build: setup
	@scripts/with_env.sh python -m colcon --log-level error build --symlink-install --packages-select tiny_bev_ros

demo: build
	@scripts/with_env.sh install/tiny_bev_ros/lib/tiny_bev_ros/demo \
	    $(if $(BAG),--bag "$(BAG)") $(if $(TOPIC),--topic "$(TOPIC)") $(if $(GRID),--grid "$(GRID)")

demo-fusion: build
	@scripts/with_env.sh install/tiny_bev_ros/lib/tiny_bev_ros/demo_fusion \
	    $(if $(BAG),--bag "$(BAG)") $(if $(TOPIC),--topic "$(TOPIC)") $(if $(IMAGE),--image "$(IMAGE)")

# Three tests at a time, each with one thread: many of them wait for processes.
test: build
	@OMP_NUM_THREADS=1 scripts/with_env.sh python -m colcon --log-level error test \
	    --packages-select tiny_bev_ros --event-handlers console_direct+ \
	    --return-code-on-test-failure --pytest-args -n 3 --dist worksteal

params: setup
	@scripts/with_env.sh python -m tiny_bev_ros.nodes.generate_parameter_files

# An environment of its own, without PyTorch and ROS: see requirements/docs.txt.
build/docs-env/bin/sphinx-build: requirements/docs.txt
	@rm -rf build/docs-env && $(PYTHON) -m venv build/docs-env
	@build/docs-env/bin/python -m pip install --disable-pip-version-check -q -r requirements/docs.txt
	@touch $@

docs: build/docs-env/bin/sphinx-build
	@build/docs-env/bin/sphinx-build -W --keep-going -n -q -E -b html docs build/docs
	@echo "written: build/docs/index.html"

bench: build
	@scripts/with_env.sh python -m benchmarks.run --threads $(THREADS) $(if $(ONLY),--only $(ONLY))

# Exit code of the program: 0 passed, 1 a section failed, 2 no CUDA device.
gpu-check: build
	@scripts/with_env.sh python -m benchmarks.gpu.gpu_check

faults: build
	@scripts/with_env.sh python test/system/faults.py --document docs/operations.md

soak: build
	@scripts/with_env.sh python test/system/soak.py --minutes $(MINUTES)

clean:
	rm -rf .venv build install log
