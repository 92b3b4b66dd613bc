# The least that the plugin serves with: policy.hcl without the look at its own token.
# A static token then ends without having been announced by a metric; logins are not concerned.
# `vault-kubernetes-kms policy -without-lookup-self` prints it for a configuration.
path "transit/encrypt/kms-key" {
  capabilities = ["update"]
}

path "transit/decrypt/kms-key" {
  capabilities = ["update"]
}

path "transit/keys/kms-key" {
  capabilities = ["read"]
}
