"""Boosted trees of XGBoost and LightGBM: native files, checked before their libraries read them."""
