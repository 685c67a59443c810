//! What only the embedded changelog has to show: that it survives.
