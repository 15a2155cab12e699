"""Dividing an image among seeds by the cheapest way to each pixel."""

import numpy as np

# Steps to half of the neighbours; the others are the same ones seen from there.
STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))


def divide(cost: np.ndarray, seeds: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Give each pixel of a mask to the seed from which a way to it costs least.

    Geodesic Voronoi regions (CellProfiler's propagation, Jones, Carpenter & Golland 2005, is one
    such division), by Dijkstra's algorithm on the graph of pixels with eight neighbours each.

    Parameters
    ----------
    cost : (Y, X) float, positive: of a way of one pixel through here. A step costs its length
        times the mean of both ends.
    seeds : (Y, X) int, labels from 1; each seed is one place, wherever its pixels lie.
    mask : (Y, X) bool, where ways may lead besides the seeds.

    Returns
    -------
    (Y, X) int32: the seeds' labels, 0 outside and where no way leads.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    names, seed = np.unique(seeds[seeds > 0], return_inverse=True)
    labels = np.zeros(seeds.shape, np.int32)
    if not len(names):
        return labels
    # Nodes: the seeds, then the pixels between them.
    between = mask & (seeds == 0)
    node = np.full(seeds.shape, -1, np.int32)
    node[seeds > 0] = seed
    count = len(names) + int(np.count_nonzero(between))
    node[between] = np.arange(len(names), count, dtype=np.int32)
    height, width = seeds.shape
    edges = []
    for dy, dx in STEPS:
        here = np.s_[: height - dy, max(0, -dx) : width - max(dx, 0)]
        there = np.s_[dy:, max(0, dx) : width + min(dx, 0)]
        joined = (node[here] >= 0) & (node[there] >= 0) & (node[here] != node[there])
        length = np.hypot(dy, dx) / 2 * (cost[here] + cost[there])
        edges.append((node[here][joined], node[there][joined], length[joined]))
    start, end, length = (np.concatenate(part) for part in zip(*edges, strict=True))
    # Of several ways between a seed and a pixel, or two seeds, the cheapest counts.
    start, end = np.minimum(start, end), np.maximum(start, end)
    order = np.lexsort((length, end, start))
    start, end, length = start[order], end[order], length[order]
    first = np.ones(len(start), bool)
    first[1:] = (start[1:] != start[:-1]) | (end[1:] != end[:-1])
    graph = coo_matrix((length[first], (start[first], end[first])), shape=(count, count)).tocsr()
    source = dijkstra(
        graph,
        directed=False,
        indices=np.arange(len(names)),
        min_only=True,
        return_predecessors=True,
    )[2]
    reached = np.where(source >= 0, names[np.maximum(source, 0)], 0)
    some = node >= 0
    labels[some] = reached[node[some]]
    return labels
