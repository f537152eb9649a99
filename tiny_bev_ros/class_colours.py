# SPDX-License-Identifier: Apache-2.0
"""Colours of the object classes in markers, images and figures."""

# Red, green and blue of each class, from 0 to 1.
CLASS_COLOURS = {
    'vehicle': (1.0, 0.35, 0.2),
    'pedestrian': (1.0, 0.2, 0.9),
    'cyclist': (0.1, 0.9, 1.0),
}
