"""Finds the shortest way through a grid of streets with different lengths."""
import networkx


def handler(event, context):
    n = event["size"]
    streets = networkx.grid_2d_graph(n, n)
    for (a, b), (c, d), street in streets.edges(data=True):
        street["weight"] = 1 + (a * 7 + b * 13 + c * 3 + d * 5) % 11
    way = networkx.shortest_path(streets, (0, 0), (n - 1, n - 1), weight="weight")
    return {"length": networkx.path_weight(streets, way, "weight"), "corners": len(way)}
