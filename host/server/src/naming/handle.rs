//! How front ends and executors reach the naming state.

use super::{Published, Requests};
use arc_swap::ArcSwap;
use muster_core::naming::{
    Beat, BeatReply, DeleteServiceError, Naming, RegisterError, Report, Subscription, TargetId,
};
use muster_core::persist::{Command, HealthFlip, MetadataEdit, Reply};
use muster_core::service::{ClusterSettings, ServiceMetadata};
use muster_core::switches::{SwitchError, Switches};
use muster_core::{ClientId, Instance, Metadata, Millis, Overlay, ServiceKey};
use muster_raft::{ProposeError, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a caller waits for the loop before it is told that the node is overloaded.
const PATIENCE: Duration = Duration::from_secs(3);

/// One request to the loop: run with the state, answered after its effects were carried out.
pub trait Step: Send {
    /// Does the work.
    fn run(&mut self, naming: &mut Naming, now: Millis);
    /// Tells the caller.
    fn answer(self: Box<Self>);
}

struct Call<F, T> {
    work: Option<F>,
    result: Option<T>,
    reply: oneshot::Sender<T>,
}

impl<F: FnOnce(&mut Naming, Millis) -> T + Send, T: Send> Step for Call<F, T> {
    fn run(&mut self, naming: &mut Naming, now: Millis) {
        self.result = self.work.take().map(|work| work(naming, now));
    }

    fn answer(self: Box<Self>) {
        if let Some(result) = self.result {
            // A caller that has gone away meanwhile needs no answer.
            let _ = self.reply.send(result);
        }
    }
}

/// The loop did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamingError {
    /// it has more to do than it gets done
    #[error("the node is overloaded, try again later")]
    Overloaded,
    /// the node is going down
    #[error("the node is shutting down")]
    Stopped,
}

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// the rules refuse it
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// the service cannot be removed
    #[error(transparent)]
    Delete(#[from] DeleteServiceError),
    /// a switch value does not fit
    #[error(transparent)]
    Switch(#[from] SwitchError),
    /// there is such a service
    #[error("specified service {0} already exists!")]
    Exists(String),
    /// it could not be made durable
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// the loop did not answer
    #[error(transparent)]
    Naming(#[from] NamingError),
}

/// Reaches the naming state. Cheap to clone.
#[derive(Clone)]
pub struct NamingHandle {
    requests: Requests,
    store: Store,
    published: Arc<Published>,
    switches: Arc<ArcSwap<Switches>>,
}

impl std::fmt::Debug for NamingHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NamingHandle").finish_non_exhaustive()
    }
}

impl NamingHandle {
    /// Over the queue of the loop, the store, and what the loop publishes.
    pub fn new(
        requests: Requests,
        store: Store,
        published: Arc<Published>,
        switches: Arc<ArcSwap<Switches>>,
    ) -> Self {
        Self { requests, store, published, switches }
    }

    /// What readers see.
    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// The switches in force.
    pub fn switches(&self) -> arc_swap::Guard<Arc<Switches>> {
        self.switches.load()
    }

    /// Runs `work` in the loop and answers what it answers, after its effects were carried out.
    ///
    /// # Errors
    /// [`NamingError`]; `work` did not run then.
    pub async fn step<T, F>(&self, work: F) -> Result<T, NamingError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Naming, Millis) -> T + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Call { work: Some(work), result: None, reply };
        match self.requests.try_reserve() {
            Ok(room) => room.send(Box::new(call)),
            Err(_) => self.wait_for_room().await?.send(Box::new(call)),
        }
        answer.await.map_err(|_| NamingError::Stopped)
    }

    async fn wait_for_room(&self) -> Result<tokio::sync::mpsc::Permit<'_, Box<dyn Step>>, NamingError> {
        let room = tokio::time::timeout(PATIENCE, self.requests.reserve()).await;
        room.map_err(|_| NamingError::Overloaded)?.map_err(|_| NamingError::Stopped)
    }

    /// Writes durably; when it answers, this node's readers see the write.
    async fn propose(&self, command: Command) -> Result<Reply, WriteError> {
        let reply = self.store.propose(command).await?;
        self.step(|_, _| ()).await?;
        Ok(reply)
    }

    /// When this answers, this node's readers see every durable write that was acknowledged before, on any node.
    ///
    /// # Errors
    /// [`WriteError`] when no majority of the members can be reached.
    pub async fn read_barrier(&self) -> Result<(), WriteError> {
        self.store.read_barrier().await?;
        Ok(self.step(|_, _| ()).await?)
    }

    /// Registers an instance: published at once when it is ephemeral, durable when it is persistent.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn register(&self, service: ServiceKey, instance: Instance) -> Result<(), WriteError> {
        if instance.ephemeral {
            let client = ClientId::address(&instance.ip, instance.port, true);
            let result = self.step(move |naming, now| naming.register(now, &client, &service, instance));
            return Ok(result.await??);
        }
        let key = service.clone();
        let prepared = self.step(move |naming, now| naming.prepare_persistent(now, &key, instance)).await??;
        self.propose(Command::RegisterInstance { service, instance: prepared }).await.map(drop)
    }

    /// Removes an instance; nothing happens when there is none.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn deregister(
        &self,
        service: ServiceKey,
        ip: &str,
        port: u16,
        ephemeral: bool,
    ) -> Result<(), WriteError> {
        if ephemeral {
            let client = ClientId::address(ip, port, true);
            return Ok(self.step(move |naming, now| naming.deregister(now, &client, &service)).await?);
        }
        self.propose(Command::DeregisterInstance { service, address: format!("{ip}:{port}") }).await.map(drop)
    }

    /// Takes in a beat.
    ///
    /// # Errors
    /// [`WriteError`] when a full beat of an unknown instance cannot be registered.
    pub async fn beat(&self, service: ServiceKey, beat: Beat) -> Result<BeatReply, WriteError> {
        Ok(self.step(move |naming, now| naming.beat(now, &service, beat)).await??)
    }

    /// Remembers a subscriber.
    ///
    /// # Errors
    /// [`NamingError`].
    pub async fn subscribe(&self, subscription: Subscription) -> Result<(), NamingError> {
        self.step(move |naming, now| naming.subscribe(now, subscription)).await
    }

    /// Whether there is such a service.
    pub fn service_exists(&self, service: &ServiceKey) -> bool {
        self.published.get(service).is_some()
    }

    /// Creates a service without instances.
    ///
    /// # Errors
    /// [`WriteError::Exists`] and others.
    pub async fn create_service(
        &self,
        service: ServiceKey,
        metadata: ServiceMetadata,
    ) -> Result<(), WriteError> {
        let grouped = service.grouped();
        if self.service_exists(&service) {
            return Err(WriteError::Exists(grouped));
        }
        match self.propose(Command::CreateService { service, metadata }).await? {
            Reply::Exists => Err(WriteError::Exists(grouped)),
            Reply::Done | Reply::NotEmpty => Ok(()),
        }
    }

    /// Replaces threshold, metadata and selector of a service.
    ///
    /// # Errors
    /// [`DeleteServiceError::NotFound`] for an unknown service, and others.
    pub async fn update_service(
        &self,
        service: ServiceKey,
        metadata: ServiceMetadata,
    ) -> Result<(), WriteError> {
        let known = self.published.get(&service);
        let known = known.ok_or_else(|| DeleteServiceError::NotFound(service.grouped()))?;
        let ServiceMetadata { protect_threshold, metadata, selector, .. } = metadata;
        let ephemeral = known.snapshot.ephemeral;
        let command = Command::UpdateService { service, ephemeral, protect_threshold, metadata, selector };
        self.propose(command).await.map(drop)
    }

    /// Removes a service without instances.
    ///
    /// # Errors
    /// [`WriteError::Delete`] and others.
    pub async fn delete_service(&self, service: ServiceKey) -> Result<(), WriteError> {
        let key = service.clone();
        self.step(move |naming, _| naming.delete_service(&key)).await??;
        let grouped = service.grouped();
        match self.propose(Command::DeleteService { service }).await? {
            Reply::NotEmpty => Err(DeleteServiceError::NotEmpty(grouped).into()),
            Reply::Done | Reply::Exists => Ok(()),
        }
    }

    /// Replaces the settings of one cluster of an existing service.
    ///
    /// # Errors
    /// [`DeleteServiceError::NotFound`] for an unknown service, and others.
    pub async fn update_cluster(
        &self,
        service: ServiceKey,
        cluster: String,
        settings: ClusterSettings,
    ) -> Result<(), WriteError> {
        let known = self.published.get(&service);
        let known = known.ok_or_else(|| DeleteServiceError::NotFound(service.grouped()))?;
        let ephemeral = known.snapshot.ephemeral;
        self.propose(Command::UpdateCluster { service, ephemeral, cluster, settings }).await.map(drop)
    }

    /// Replaces an operator's overlay.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn set_overlay(
        &self,
        service: ServiceKey,
        metadata_id: String,
        overlay: Overlay,
    ) -> Result<(), WriteError> {
        self.propose(Command::SetOverlay { service, metadata_id, overlay: Some(overlay) }).await.map(drop)
    }

    /// Changes what is given of an operator's overlay.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn patch_overlay(
        &self,
        service: ServiceKey,
        metadata_id: String,
        enabled: Option<bool>,
        weight: Option<f64>,
        metadata: Option<Metadata>,
    ) -> Result<(), WriteError> {
        self.propose(Command::PatchOverlay { service, metadata_id, enabled, weight, metadata })
            .await
            .map(drop)
    }

    /// Edits the overlay maps of many instances.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn batch_metadata(
        &self,
        service: ServiceKey,
        metadata_ids: Vec<String>,
        edit: MetadataEdit,
    ) -> Result<(), WriteError> {
        self.propose(Command::BatchMetadata { service, metadata_ids, edit }).await.map(drop)
    }

    /// Sets the health of a persistent instance by hand. Whether that is allowed is the caller's to ask
    /// ([`Naming::health_is_manual`]).
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn set_health(
        &self,
        service: ServiceKey,
        ip: &str,
        port: u16,
        healthy: bool,
    ) -> Result<(), WriteError> {
        let flips = vec![HealthFlip { service, address: format!("{ip}:{port}"), healthy }];
        self.propose(Command::SetHealth { flips }).await.map(drop)
    }

    /// Sets a switch, on this node alone when `here_only` (N181). An unknown entry changes nothing (N180).
    ///
    /// # Errors
    /// [`WriteError::Switch`] when the value does not fit, and others.
    pub async fn set_switch(&self, entry: String, value: String, here_only: bool) -> Result<(), WriteError> {
        let mut switches = Switches::clone(&self.switches());
        if !switches.set(&entry, &value)? {
            return Ok(());
        }
        if here_only {
            return Ok(self.step(move |naming, _| naming.override_switches(switches)).await?);
        }
        self.propose(Command::SetSwitch { entry, value }).await.map(drop)
    }

    /// Hands in how a check ended.
    ///
    /// # Errors
    /// [`NamingError`].
    pub async fn probed(&self, id: TargetId, report: Report) -> Result<(), NamingError> {
        self.step(move |naming, now| naming.probed(now, id, report)).await
    }

    /// Carries out a durable write that the rules asked for.
    ///
    /// # Errors
    /// [`ProposeError`]; the rules ask again.
    pub(crate) async fn carry_out(&self, command: Command) -> Result<Reply, ProposeError> {
        self.store.propose(command).await
    }
}
