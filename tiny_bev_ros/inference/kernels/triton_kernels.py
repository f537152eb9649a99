# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Kernels of the sparse path on CUDA, in Triton.

An index map holds for each cell the row of its site, counted from 1, and 0 where the cell is
inactive; a border of one inactive cell spares the neighbours a bounds check. The number of sites
stays on the device: programs beyond it end at once, so that the host never waits for it.
Channels are padded with zeros to whole blocks.
"""

# mypy: disable-error-code=no-untyped-def
# Triton takes annotations of arguments for types of its own.

import triton
import triton.language as tl


# Neither of these arguments leads to another compilation: a frame would wait for it.
@triton.jit(do_not_specialize=['features', 'cells', 'count'])
def mark_pillars(
    features,
    cells,
    count,
    rows,
    index_map,
    width,
    channels,
    padded: tl.constexpr,
    block_sites: tl.constexpr,
    block_channels: tl.constexpr,
):
    """Writes pillars into the rows and the index map of a chain's input.

    Args:
        features: (N,C) values of any float dtype.
        cells: (N,2) integers [row, col].
        count: number N of pillars.
        rows: (>= N, padded) output in the compute dtype.
        index_map: (H + 2, width) int32, zero but for this output.
        width: row length of the index map.
        channels: number C of channels.
        padded: row length of `rows`.
        block_sites: number of pillars of a program.
        block_channels: number of channels that are copied at once; divides padded.
    """
    site = tl.program_id(0) * block_sites + tl.arange(0, block_sites)
    valid = site < count
    row = tl.load(cells + 2 * site, mask=valid, other=0)
    col = tl.load(cells + 2 * site + 1, mask=valid, other=0)
    tl.store(index_map + (row + 1) * width + col + 1, site + 1, mask=valid)
    for first in range(0, padded, block_channels):
        channel = first + tl.arange(0, block_channels)
        value = tl.load(
            features + site.to(tl.int64)[:, None] * channels + channel[None, :],
            mask=valid[:, None] & (channel < channels)[None, :],
            other=0.0,
        )
        target = rows + site.to(tl.int64)[:, None] * padded + channel[None, :]
        tl.store(target, value.to(rows.dtype.element_ty), mask=valid[:, None])


@triton.jit
def find_sites(
    index_in,
    count,
    cells,
    index_out,
    width_in,
    height,
    width,
    kernel: tl.constexpr,
    stride: tl.constexpr,
    tile: tl.constexpr,
):
    """Lists the active sites of a layer's output: cells with an active neighbour in the input.

    Each program lists those of a square of cells. A scan numbers them, and an atomic addition
    reserves their rows, so the order of the squares varies from run to run: results do not depend
    on it.

    Args:
        index_in: index map of the input.
        count: number of sites; zero before.
        cells: (h * w) int32, index row * w + col of the cell of each site.
        index_out: index map of the output, of which everything but the border is written.
        width_in: row length of `index_in`.
        height: height h of the output.
        width: width w of the output.
        kernel: kernel size, 1 or 3.
        stride: stride of the layer.
        tile: side of the squares.
    """
    within = tl.arange(0, tile * tile)
    row = tl.program_id(1) * tile + within // tile
    col = tl.program_id(0) * tile + within % tile
    valid = (row < height) & (col < width)
    edge: tl.constexpr = 1 - kernel // 2
    corner = (row * stride + edge) * width_in + col * stride + edge
    neighbours = tl.full((tile * tile,), 0, tl.int32)
    for tap in range(kernel * kernel):
        offset = corner + (tap // kernel) * width_in + tap % kernel
        neighbours |= tl.load(index_in + offset, mask=valid, other=0)
    active = neighbours != 0
    rank = tl.cumsum(active.to(tl.int32), 0)
    begin = tl.atomic_add(count, tl.max(rank, 0))
    number = tl.where(active, begin + rank, 0)
    tl.store(cells + number - 1, row * width + col, mask=active)
    tl.store(index_out + (row + 1) * (width + 2) + col + 1, number, mask=valid)


@triton.jit
def convolve_sites(
    rows,
    index_map,
    count,
    cells,
    weight,
    pre_relu,
    post_relu,
    background_row,
    background_col,
    out,
    width_in,
    width,
    out_channels: tl.constexpr,
    kernel: tl.constexpr,
    stride: tl.constexpr,
    padded_in: tl.constexpr,
    padded_out: tl.constexpr,
    relu: tl.constexpr,
    into_map: tl.constexpr,
    block_sites: tl.constexpr,
    block_out: tl.constexpr,
    block_in: tl.constexpr,
):
    """Computes a layer at its active sites: gathers, multiplies, adds the background, ReLU.

    Args:
        rows: (>= sites of the input, padded_in) deltas of the input, in the compute dtype.
        index_map: index map of the input.
        count: number of sites of the output.
        cells: index of the cell of each site.
        weight: (kernel**2 * padded_in, padded_out) weights, in the compute dtype.
        pre_relu: (S, padded_out) float32 background before ReLU, by cell of the small map.
        post_relu: (S, padded_out) float32 background after ReLU.
        background_row: (h,) int32, number of the first cell of a row of the small map.
        background_col: (w,) int32, column of the small map.
        out: deltas (>= sites, padded_out), or with into_map the output map (h, w, out_channels).
        width_in: row length of the index map.
        width: width w of the output.
        out_channels: number of channels without padding.
        kernel: kernel size, 1 or 3.
        stride: stride of the layer.
        padded_in: row length of `rows`.
        padded_out: row length of the weight and of the background.
        relu: True to apply ReLU.
        into_map: True to write activations into a map, False to write deltas.
        block_sites: number of sites of a program.
        block_out: number of output channels of a program; divides padded_out.
        block_in: number of input channels that are multiplied at once; divides padded_in.
    """
    first = tl.program_id(0) * block_sites
    total = tl.load(count)
    if first < total:
        site = first + tl.arange(0, block_sites)
        valid = site < total
        cell = tl.load(cells + site, mask=valid, other=0)
        row = cell // width
        col = cell - row * width
        edge: tl.constexpr = 1 - kernel // 2
        corner = index_map + (row * stride + edge) * width_in + col * stride + edge
        channel_in = tl.arange(0, block_in)
        channel = tl.program_id(1) * block_out + tl.arange(0, block_out)
        blocks: tl.constexpr = padded_in // block_in
        values = tl.full((block_sites, block_out), 0.0, tl.float32)
        for step in range(kernel * kernel * blocks):
            tap = step // blocks
            offset = (tap // kernel) * width_in + tap % kernel
            number = tl.load(corner + offset, mask=valid, other=0)
            source = rows + (number - 1).to(tl.int64)[:, None] * padded_in
            gathered = tl.load(
                source + ((step % blocks) * block_in + channel_in)[None, :],
                mask=(number != 0)[:, None],
                other=0.0,
            )
            weights = tl.load(
                weight + (step * block_in + channel_in)[:, None] * padded_out + channel[None, :]
            )
            values = tl.dot(gathered, weights, values, input_precision='ieee')  # TF32 would round
        small = tl.load(background_row + row) + tl.load(background_col + col)
        table = small[:, None] * padded_out + channel[None, :]
        values += tl.load(pre_relu + table)
        if relu:
            values = tl.where(values < 0.0, 0.0, values)  # unlike a maximum, keeps NaN
        if into_map:
            target = out + cell.to(tl.int64)[:, None] * out_channels + channel[None, :]
            mask = valid[:, None]
            if out_channels != padded_out:
                mask &= (channel < out_channels)[None, :]
            tl.store(target, values.to(out.dtype.element_ty), mask=mask)
        else:
            values -= tl.load(post_relu + table)
            target = out + site.to(tl.int64)[:, None] * padded_out + channel[None, :]
            tl.store(target, values.to(out.dtype.element_ty), mask=valid[:, None])


@triton.jit
def restore_background(
    count,
    cells,
    post_relu,
    background_row,
    background_col,
    out,
    width,
    out_channels: tl.constexpr,
    padded_out: tl.constexpr,
    block_sites: tl.constexpr,
    block_out: tl.constexpr,
):
    """Writes the background into an output map, at the sites of an earlier frame.

    Args:
        count: number of sites of the earlier frame.
        cells: index of the cell of each of them.
        post_relu: (S, padded_out) float32 background after ReLU, by cell of the small map.
        background_row: (h,) int32, number of the first cell of a row of the small map.
        background_col: (w,) int32, column of the small map.
        out: (h, w, out_channels) output map.
        width: width w of the map.
        out_channels: number of channels without padding.
        padded_out: row length of the background.
        block_sites: number of sites of a program.
        block_out: number of channels of a program; divides padded_out.
    """
    first = tl.program_id(0) * block_sites
    total = tl.load(count)
    if first < total:
        site = first + tl.arange(0, block_sites)
        cell = tl.load(cells + site, mask=site < total, other=0)
        row = cell // width
        small = tl.load(background_row + row) + tl.load(background_col + cell - row * width)
        channel = tl.program_id(1) * block_out + tl.arange(0, block_out)
        value = tl.load(post_relu + small[:, None] * padded_out + channel[None, :])
        mask = (site < total)[:, None] & (channel < out_channels)[None, :]
        target = out + cell.to(tl.int64)[:, None] * out_channels + channel[None, :]
        tl.store(target, value.to(out.dtype.element_ty), mask=mask)
