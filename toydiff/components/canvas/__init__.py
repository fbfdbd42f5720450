"""The canvas: somebody draws a point cloud, with mouse, pen or finger."""
