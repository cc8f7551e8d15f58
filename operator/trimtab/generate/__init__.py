"""Generated files: CustomResourceDefinitions, the chart's copies, and the reference of fields."""
