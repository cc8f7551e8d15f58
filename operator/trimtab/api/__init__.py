"""The four kinds of `trimtab.dev/v1alpha1`: the one definition from which CRDs are generated."""
