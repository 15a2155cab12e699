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

    is_seed = seeds > 0
    within = mask | is_seed
    count = int(np.count_nonzero(within))
    node = np.full(seeds.shape, -1, np.int32)
    node[within] = np.arange(count, dtype=np.int32)
    height, width = seeds.shape
    edges = []
    for dy, dx in STEPS:
        here = np.s_[: height - dy, max(0, -dx) : width - max(dx, 0)]
        there = np.s_[dy:, max(0, dx) : width + min(dx, 0)]
        joined = within[here] & within[there] & ~(is_seed[here] & is_seed[there])
        length = np.hypot(dy, dx) / 2 * (cost[here] + cost[there])
        edges.append((node[here][joined], node[there][joined], length[joined]))
    start, end, length = (np.concatenate(part) for part in zip(*edges, strict=True))
    graph = coo_matrix((length, (start, end)), shape=(count, count)).tocsr()
    labels = np.zeros(seeds.shape, np.int32)
    labels[is_seed] = seeds[is_seed]
    # Only seeds that meet other pixels lead anywhere.
    leads = np.zeros(count, bool)
    leads[start] = leads[end] = True
    edge = np.flatnonzero(leads & is_seed[within])
    if len(edge):
        source = dijkstra(
            graph, directed=False, indices=edge, min_only=True, return_predecessors=True
        )[2]
        flat = labels[within]
        reached = source >= 0
        flat[reached] = flat[source[reached]]
        labels[within] = flat
    return labels
