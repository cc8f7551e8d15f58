"""The dashboards for Grafana, as JSON. Only developers run this: no image has the SDK."""
