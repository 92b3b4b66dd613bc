# For the people who look after the key, never for the plugin: rotate it, raise its lowest version,
# see what there is, make new credentials. Whoever rotates a key need not be able to read what it
# protects, so there is no encrypt and no decrypt here; nor is there export, backup or delete, each
# of which takes the key away, in its own way.
path "transit/keys" {
  capabilities = ["list"]
}

path "transit/keys/kms-key" {
  capabilities = ["read"]
}

path "transit/keys/kms-key/rotate" {
  capabilities = ["update"]
}

# A key that may be deleted one day will be.
path "transit/keys/kms-key/config" {
  capabilities = ["update"]
  denied_parameters = {
    "deletion_allowed"       = []
    "exportable"             = []
    "allow_plaintext_backup" = []
  }
}

path "auth/approle/role/kms-plugin/role-id" {
  capabilities = ["read"]
}

path "auth/approle/role/kms-plugin/secret-id" {
  capabilities = ["update"]
}

path "auth/userpass/users/kms-plugin/password" {
  capabilities = ["update"]
}
