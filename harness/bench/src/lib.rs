//! Load and latency measurements of a plugin beside direct calls to its Vault.
