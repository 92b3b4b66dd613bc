//! A simulation of the part of Vault and OpenBao that a KMS plugin touches.
