"""The canvas, on which a point cloud is drawn with mouse, pen or finger."""
