//! Carries out what the model asks for: dials, calls, time.

use std::sync::Arc;
use std::sync::MutexGuard;

use kms_apiserver::grpc::{Code, Status};
use kms_apiserver::seam::{Action, ConnId, DialError, Event, ProviderId, Rpc};
use tokio::time::sleep_until;

use super::{Shared, State};
use crate::rpc;

/// Lets the model act, and does what it says, until it says nothing more.
pub(super) fn drive(shared: &Arc<Shared>) {
    let mut state = shared.lock();
    if state.stopped {
        return;
    }
    while state.tasks.try_join_next().is_some() {}
    loop {
        let actions = state.model.poll(shared.clock.now());
        if actions.is_empty() {
            break;
        }
        for action in actions {
            act(shared, &mut state, action);
        }
    }
    drop(state);
    shared.rescheduled.notify_one();
}

/// Wakes the model when it wants to be woken.
pub(super) async fn keep_time(shared: Arc<Shared>) {
    loop {
        let next = shared.lock().model.next_deadline();
        let rescheduled = shared.rescheduled.notified();
        match next {
            None => rescheduled.await,
            Some(next) => {
                let due = tokio::select! {
                    biased;
                    () = rescheduled => false,
                    () = sleep_until(shared.clock.instant(next)) => true,
                };
                if due {
                    drive(&shared);
                }
            }
        }
    }
}

fn act(shared: &Arc<Shared>, state: &mut MutexGuard<'_, State>, action: Action) {
    match action {
        Action::Dial {
            provider,
            conn,
            address,
            authority,
        } => {
            let dial = dial(Arc::clone(shared), provider, conn, address, authority);
            let handle = state.tasks.spawn(dial);
            state.dials.insert((provider, conn), handle);
        }
        Action::AbortDial { provider, conn } => {
            if let Some(dial) = state.dials.remove(&(provider, conn)) {
                dial.abort();
            }
        }
        Action::Send {
            provider,
            conn,
            rpc,
        } => {
            let id = rpc.call;
            let call = call(Arc::clone(shared), provider, conn, rpc);
            let handle = state.tasks.spawn(call);
            state.calls.insert(id, (provider, handle));
        }
        Action::Cancel { call, .. } => {
            if let Some((_, call)) = state.calls.remove(&call) {
                call.abort();
            }
        }
        Action::Close { provider } => {
            // without a handle on it, the connection says GOAWAY and ends
            state.links.retain(|(of, _), _| *of != provider);
            state.dials.retain(|(of, _), dial| {
                if *of == provider {
                    dial.abort();
                }
                *of != provider
            });
            state.calls.retain(|_, (of, call)| {
                if *of == provider {
                    call.abort();
                }
                *of != provider
            });
        }
        Action::Event(event) => happened(shared, state, event),
    }
}

fn happened(shared: &Shared, state: &mut MutexGuard<'_, State>, event: Event) {
    // whoever asked may have gone
    match event {
        Event::Started => {
            if let Some(started) = state.started.take() {
                let _ = started.send(Ok(()));
            }
        }
        Event::StartFailed { error } => {
            if let Some(started) = state.started.take() {
                let _ = started.send(Err(error));
            }
        }
        Event::Decrypted { call, outcome } => {
            if let Some(reader) = state.decrypts.remove(&call) {
                let _ = reader.send(outcome);
            }
        }
        Event::Probed { probe, result } => {
            if let Some(prober) = state.probes.remove(&probe) {
                let _ = prober.send(result);
            }
        }
        Event::ReadConfig => {
            let content = shared.source.read();
            let content = content.as_deref().map_err(ToString::to_string);
            state.model.config_read(shared.clock.now(), content);
        }
        Event::Reloaded { .. } => {}
        Event::Log(line) => (shared.log)(&line),
    }
}

async fn dial(
    shared: Arc<Shared>,
    provider: ProviderId,
    conn: ConnId,
    address: String,
    authority: String,
) {
    let opened = match shared.dialer.dial(&address).await {
        Err(error) => Err(DialError::Connect(rpc::error_text(&address, &error))),
        Ok(stream) => rpc::handshake(stream, authority, shared.user_agent).await,
    };
    {
        let mut state = shared.lock();
        if state.dials.remove(&(provider, conn)).is_none() {
            return;
        }
        let outcome = match opened {
            Err(error) => Err(error),
            Ok((connection, driver)) => {
                state.links.insert((provider, conn), connection);
                let shared = Arc::clone(&shared);
                state.tasks.spawn(async move {
                    driver.await;
                    let why = Status::new(Code::UNAVAILABLE, "error reading from server: EOF");
                    let mut state = shared.lock();
                    state.links.remove(&(provider, conn));
                    state.model.lost(shared.clock.now(), provider, conn, &why);
                    drop(state);
                    drive(&shared);
                });
                Ok(())
            }
        };
        state
            .model
            .dialled(shared.clock.now(), provider, conn, outcome);
    }
    drive(&shared);
}

async fn call(shared: Arc<Shared>, provider: ProviderId, conn: ConnId, rpc: Rpc) {
    let id = rpc.call;
    let connection = shared.lock().links.get(&(provider, conn)).cloned();
    let outcome = match connection {
        Some(connection) => {
            let (method, limit) = (rpc.method, rpc.timeout);
            let call = Box::pin(connection.call(rpc));
            shared.dialer.carry(method, limit, call).await
        }
        None => Err(Status::new(
            Code::UNAVAILABLE,
            "error reading from server: EOF",
        )),
    };
    {
        let mut state = shared.lock();
        state.calls.remove(&id);
        state
            .model
            .answer(shared.clock.now(), provider, id, outcome);
    }
    drive(&shared);
}
