"""Generated files: CustomResourceDefinitions with the chart's copies, pages of the reference."""
