//! POST, PUT, PATCH and DELETE.

use kms_apiserver_api::Resource;
use serde_json::Value;

use super::{Api, Reply, Request};
use crate::object::meta::Time;
use crate::object::{Object, protobuf, validate};
use crate::registry::{Read, RegistryError};
use crate::rest::{Query, Refusal, patch, status};
use crate::store::Expect;

/// How often a change without a resource version is tried anew when somebody else was quicker.
const TRIES: usize = 20;

/// The longest body, in bytes: kube-apiserver's limit.
const MAX_BODY: usize = 3 << 20;

impl Api {
    /// Creates an object.
    pub(super) async fn create(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        query: &Query,
        request: &Request,
    ) -> Result<Reply, Refusal> {
        let mut object = sent_object(resource, request)?;
        let namespace = self.namespace_of(&mut object, namespace)?;
        if object.meta.name.is_empty() && !object.meta.generate_name.is_empty() {
            object.meta.name = format!("{}{}", object.meta.generate_name, self.chance.suffix());
        }
        object.set_defaults();
        object.meta.uid = self.chance.uid();
        object.meta.creation_timestamp = Some(self.time());
        object.meta.deletion_timestamp = None;
        object.meta.resource_version.clear();
        check(validate::object(&object), &object)?;
        self.namespace_exists(resource, &namespace).await?;
        let key = self
            .registry
            .keys()
            .object(resource, &namespace, &object.meta.name);
        let plain = protobuf::encode(&object);
        if query.text("dryRun").is_empty() {
            match self
                .registry
                .write(&key, &mut object, &plain, Expect::Absent)
                .await
            {
                Ok(()) => {}
                Err(RegistryError::Changed) => {
                    // The real server reads what is there, to see whether it is being deleted; whether that works is all one.
                    let _ = self.registry.get(resource, &key).await;
                    return Err(Refusal::already_exists(resource, &object.meta.name));
                }
                Err(error) => return Err(Refusal::of(error, resource, &object.meta.name)),
            }
        }
        Ok(Reply::Json {
            code: 201,
            retry_after: None,
            body: object.to_json(true),
        })
    }

    /// Replaces an object.
    pub(super) async fn update(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
        query: &Query,
        request: &Request,
    ) -> Result<Reply, Refusal> {
        let mut wanted = sent_object(resource, request)?;
        self.namespace_of(&mut wanted, Some(namespace))?;
        if wanted.meta.name.is_empty() {
            name.clone_into(&mut wanted.meta.name);
        }
        if wanted.meta.name != name {
            let why = format!(
                "the name of the object ({}) does not match the name on the URL ({name})",
                wanted.meta.name
            );
            return Err(Refusal::bad_request(why));
        }
        self.change(resource, namespace, name, query, |_| Ok(wanted.clone()))
            .await
    }

    /// Changes an object in part.
    pub(super) async fn patch(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
        query: &Query,
        request: &Request,
    ) -> Result<Reply, Refusal> {
        let kind = patch::Kind::of(&request.content_type);
        let kind = kind.ok_or_else(|| Refusal::unsupported_media_type(patch::ACCEPTED))?;
        let changes = body(request)?;
        if !changes.is_object() {
            return Err(Refusal::bad_request("the patch is not an object"));
        }
        self.change(resource, namespace, name, query, |current| {
            let mut json = current.to_json(true);
            patch::apply(kind, &mut json, &changes);
            let mut wanted = object(resource, &json)?;
            if wanted.meta.name != name || wanted.meta.namespace != namespace {
                return Err(Refusal::bad_request(
                    "a patch cannot change the name or namespace of an object",
                ));
            }
            if changes.pointer("/metadata/resourceVersion").is_none() {
                wanted.meta.resource_version.clear();
            }
            Ok(wanted)
        })
        .await
    }

    /// Writes what `make` makes of the current object, unless that changes nothing and the stored value is not stale
    /// (KMS2-STALE-04, KMS2-WRITE-04).
    ///
    /// What the watch cache holds is taken for current as long as nothing speaks against it, as the real server does: a
    /// change then reads no stored value, and works even where the stored one can no longer be decrypted.
    async fn change(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
        query: &Query,
        make: impl Fn(&Object) -> Result<Object, Refusal>,
    ) -> Result<Reply, Refusal> {
        let key = self.registry.keys().object(resource, namespace, name);
        let read = async || {
            let read = self.registry.get_for_update(resource, &key).await;
            read.map_err(|error| Refusal::of(error, resource, name))
        };
        let dry_run = !query.text("dryRun").is_empty();
        let cached = self.cached(resource, &key).filter(|_| !dry_run);
        let mut fresh = cached.is_none();
        let mut current = match cached {
            Some(cached) => cached,
            None => read().await?,
        };
        for _ in 0..TRIES {
            let mut wanted = match next_state(&current, &make) {
                Ok(wanted) => wanted,
                Err(refusal) if fresh => return Err(refusal),
                Err(refusal) => {
                    let seen = current.mod_revision;
                    current = read().await?;
                    fresh = true;
                    if current.mod_revision == seen {
                        return Err(refusal);
                    }
                    continue;
                }
            };
            let plain = protobuf::encode(&wanted);
            if plain == current.plain && !fresh {
                // only the store knows whether the value is stale
                current = read().await?;
                fresh = true;
                if plain != current.plain {
                    continue;
                }
            }
            wanted
                .meta
                .resource_version
                .clone_from(&current.object.meta.resource_version);
            if (plain == current.plain && !current.stale) || dry_run {
                return Ok(Reply::ok(wanted.to_json(true)));
            }
            let expect = Expect::Revision(current.mod_revision);
            match self.registry.write(&key, &mut wanted, &plain, expect).await {
                Ok(()) => return Ok(Reply::ok(wanted.to_json(true))),
                Err(RegistryError::Changed) => {
                    current = read().await?;
                    fresh = true;
                }
                Err(error) => return Err(Refusal::of(error, resource, name)),
            }
        }
        Err(Refusal::modified(resource, name))
    }

    /// What the watch cache holds under a key, as if it had been read. The real server asks it whether it is ready or not.
    fn cached(&self, resource: Resource, key: &str) -> Option<Read> {
        let object = self.cacher(resource).get(key)?;
        Some(Read {
            plain: protobuf::encode(&object),
            mod_revision: object.meta.resource_version.parse().ok()?,
            stale: false,
            object: (*object).clone(),
        })
    }

    /// Deletes an object.
    pub(super) async fn delete(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
        request: &Request,
    ) -> Result<Reply, Refusal> {
        let options = if request.body.is_empty() {
            Value::Null
        } else if request.body.starts_with(protobuf::MAGIC) {
            protobuf::sent_delete_options(&request.body).map_err(Refusal::bad_request)?
        } else {
            body(request)?
        };
        let unreadable_too = self.registry.names_corrupt()
            && options["ignoreStoreReadErrorWithClusterBreakingPotential"].as_bool() == Some(true);
        let key = self.registry.keys().object(resource, namespace, name);
        let refuse = |error| Refusal::of(error, resource, name);
        for attempt in 0..TRIES {
            let first = attempt == 0;
            let current = match self.registry.get(resource, &key).await {
                Ok(_) if unreadable_too => {
                    let fault = validate::Fault {
                        field: "ignoreStoreReadErrorWithClusterBreakingPotential".to_owned(),
                        reason: "FieldValueInvalid",
                        text: "Invalid value: true: is exclusively used to delete corrupt object(s), try again by removing \
                               this option"
                            .to_owned(),
                    };
                    return Err(Refusal::invalid(resource, name, &[fault]));
                }
                Err(RegistryError::Corrupt(_)) if unreadable_too => {
                    self.registry
                        .remove(&key, Expect::Any)
                        .await
                        .map_err(refuse)?;
                    return Ok(Reply::ok(status::deleted_unreadable(resource, name)));
                }
                current => current.map_err(refuse)?,
            };
            precondition(&options, &current.object)?;
            // The real server reads twice what its cache does not know, and believes its cache otherwise.
            let revision = match self.cached(resource, &key).filter(|_| first) {
                Some(cached) => cached.mod_revision,
                None if first => {
                    let again = self.registry.get_for_update(resource, &key).await;
                    again.map_err(refuse)?.mod_revision
                }
                None => current.mod_revision,
            };
            match self.registry.remove(&key, Expect::Revision(revision)).await {
                Ok(_) => {
                    let reply = status::deleted(resource, name, &current.object.meta.uid);
                    return Ok(Reply::ok(reply));
                }
                Err(RegistryError::Changed) => {}
                Err(error) => return Err(refuse(error)),
            }
        }
        Err(Refusal::modified(resource, name))
    }

    /// The namespace of the path and of the object must agree; the object takes the path's.
    fn namespace_of(&self, object: &mut Object, path: Option<&str>) -> Result<String, Refusal> {
        if !object.resource().namespaced() {
            object.meta.namespace.clear();
            return Ok(String::new());
        }
        let Some(path) = path else {
            return Err(Refusal::method_not_allowed());
        };
        if object.meta.namespace.is_empty() {
            path.clone_into(&mut object.meta.namespace);
        }
        if object.meta.namespace != path {
            return Err(Refusal::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        Ok(path.to_owned())
    }

    /// Objects live in namespaces that exist. The cache is asked first, as the real admission does.
    async fn namespace_exists(&self, resource: Resource, namespace: &str) -> Result<(), Refusal> {
        if !resource.namespaced() {
            return Ok(());
        }
        let key = self
            .registry
            .keys()
            .object(Resource::Namespaces, "", namespace);
        if self.cacher(Resource::Namespaces).get(&key).is_some() {
            return Ok(());
        }
        let read = self.registry.get(Resource::Namespaces, &key).await;
        read.map(|_| ())
            .map_err(|error| Refusal::of(error, Resource::Namespaces, namespace))
    }

    pub(super) fn time(&self) -> Time {
        Time(i64::try_from(self.clock.now().unix.as_secs()).unwrap_or(i64::MAX))
    }
}

fn body(request: &Request) -> Result<Value, Refusal> {
    if request.body.len() > MAX_BODY {
        return Err(Refusal::bad_request(format!(
            "the body is longer than {MAX_BODY} bytes"
        )));
    }
    serde_json::from_slice(&request.body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Refusal::bad_request(format!(
            "the body is not JSON: line {line}, column {column}"
        ))
    })
}

/// The object that a client sent, as JSON or as protobuf.
fn sent_object(resource: Resource, request: &Request) -> Result<Object, Refusal> {
    if request.body.starts_with(protobuf::MAGIC) {
        protobuf::sent(resource, &request.body).map_err(Refusal::bad_request)
    } else {
        object(resource, &body(request)?)
    }
}

fn object(resource: Resource, json: &Value) -> Result<Object, Refusal> {
    Object::from_json(resource, json).map_err(Refusal::bad_request)
}

fn check(faults: Vec<validate::Fault>, object: &Object) -> Result<(), Refusal> {
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Refusal::invalid(
            object.resource(),
            &object.meta.name,
            &faults,
        ))
    }
}

/// What is wanted of the current object, complete and allowed.
fn next_state(
    current: &Read,
    make: impl Fn(&Object) -> Result<Object, Refusal>,
) -> Result<Object, Refusal> {
    let mut wanted = make(&current.object)?;
    carry_over(current, &mut wanted)?;
    wanted.set_defaults();
    check(validate::update(&current.object, &wanted), &wanted)?;
    Ok(wanted)
}

/// What a client cannot change comes from the current object; what it names of it must be right.
fn carry_over(current: &Read, wanted: &mut Object) -> Result<(), Refusal> {
    let (resource, old) = (wanted.resource(), &current.object.meta);
    let new = &mut wanted.meta;
    if !new.resource_version.is_empty() && new.resource_version != old.resource_version {
        return Err(Refusal::modified(resource, &old.name));
    }
    if !new.uid.is_empty() && new.uid != old.uid {
        let why = format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            new.uid, old.uid
        );
        return Err(Refusal::conflict(resource, &old.name, &why));
    }
    new.uid.clone_from(&old.uid);
    new.generate_name.clone_from(&old.generate_name);
    new.creation_timestamp = old.creation_timestamp;
    new.deletion_timestamp = old.deletion_timestamp;
    new.deletion_grace_period_seconds = old.deletion_grace_period_seconds;
    new.generation = old.generation;
    if new.managed_fields.is_empty() {
        new.managed_fields.clone_from(&old.managed_fields);
    }
    Ok(())
}

fn precondition(options: &Value, object: &Object) -> Result<(), Refusal> {
    let (resource, meta) = (object.resource(), &object.meta);
    let wanted = |name: &str| {
        options
            .pointer(&format!("/preconditions/{name}"))
            .and_then(Value::as_str)
    };
    if let Some(uid) = wanted("uid").filter(|uid| *uid != meta.uid) {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            meta.uid
        );
        return Err(Refusal::conflict(resource, &meta.name, &why));
    }
    if let Some(version) =
        wanted("resourceVersion").filter(|version| *version != meta.resource_version)
    {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
            meta.resource_version
        );
        return Err(Refusal::conflict(resource, &meta.name, &why));
    }
    Ok(())
}
