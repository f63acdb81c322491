//! How the kubelet learns of us: it asks who we are and says whether it took us.

use std::path::Path;

use netclaim_core::name::DriverName;
use netclaim_proto::registration::{
    InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
    registration_server::{self, RegistrationServer},
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

/// What one socket serves. A kubelet takes the newest that it knows.
const SERVED: [&str; 4] = [
    "v1.DRAPlugin",
    "v1beta1.DRAPlugin",
    "v1.DRAResourceHealth",
    "v1alpha1.DRAResourceHealth",
];

/// What the kubelet said to our registration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// It has not answered yet.
    #[default]
    Waiting,
    /// It took us.
    Registered,
    /// It did not, in its own words.
    Refused(String),
}

#[derive(Debug)]
pub(super) struct Service {
    info: PluginInfo,
    said: watch::Sender<Registration>,
}

impl Service {
    pub(super) fn new(
        driver: &DriverName,
        endpoint: &Path,
    ) -> (Self, watch::Receiver<Registration>) {
        let (said, heard) = watch::channel(Registration::default());
        let info = PluginInfo {
            r#type: "DRAPlugin".to_owned(),
            name: driver.to_string(),
            endpoint: endpoint.to_string_lossy().into_owned(),
            supported_versions: SERVED.map(str::to_owned).to_vec(),
        };
        (Self { info, said }, heard)
    }

    pub(super) fn into_server(self) -> RegistrationServer<Self> {
        RegistrationServer::new(self)
    }
}

#[tonic::async_trait]
impl registration_server::Registration for Service {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(self.info.clone()))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = request.into_inner();
        let said = if status.plugin_registered {
            tracing::info!("registered with the kubelet");
            Registration::Registered
        } else {
            tracing::error!(error = status.error, "the kubelet refused our registration");
            Registration::Refused(status.error)
        };
        self.said.send_replace(said);
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
