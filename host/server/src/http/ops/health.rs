//! Health set by hand.

use crate::http::call::Call;
use crate::http::codes;
use crate::http::error::ApiError;
use crate::http::forms;

/// Sets the health of a persistent instance whose cluster is not checked (N151–N153).
///
/// # Errors
/// Bad parameters, or a cluster that is checked.
pub(crate) async fn set(call: &Call<'_>) -> Result<(), ApiError> {
    let service = forms::service(call)?;
    let (ip, port) = forms::address(call)?;
    let healthy = healthy(call)?;
    let cluster = forms::cluster(call);
    let published = call.app.published().get(&service);
    let metadata = published.as_ref().and_then(|published| published.snapshot.metadata.as_ref());
    let settings = metadata.and_then(|metadata| metadata.clusters.get(cluster));
    if !settings.is_some_and(|settings| settings.checker.is_none()) {
        let grouped = service.grouped();
        let text = format!("health check is still working, service: {grouped}, cluster: {cluster}");
        return Err(ApiError::refused(codes::SERVER_ERROR, text));
    }
    call.app.naming.set_health(service, ip, port, healthy).await?;
    Ok(())
}

/// `healthy`, or its synonym of 1.x.
fn healthy(call: &Call<'_>) -> Result<bool, ApiError> {
    let spelling = call.spelling();
    let given = match call.params.flag("healthy", spelling)? {
        Some(healthy) => Some(healthy),
        None => call.params.flag("valid", spelling)?,
    };
    given.ok_or_else(|| ApiError::missing_kind("healthy", "Boolean", false))
}
