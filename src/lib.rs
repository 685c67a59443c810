//! Fold a changelog into keyed tables and query them while it folds.
