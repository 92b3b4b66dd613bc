# All that the plugin needs, for mount `transit` and key `kms-key`.
# `vault-kubernetes-kms policy` prints it for a configuration.
path "transit/encrypt/kms-key" {
  capabilities = ["update"]
}

path "transit/decrypt/kms-key" {
  capabilities = ["update"]
}

path "transit/keys/kms-key" {
  capabilities = ["read"]
}

# Only to learn when a static token ends; everything else works without.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
