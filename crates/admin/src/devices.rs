//! Commands about the devices that have access to an account.

use serde::{Deserialize, Serialize};
use stentor_engine::clients::Access;

use crate::Cx;
use crate::accounts::{Account, address};
use crate::command::{AdminError, Command};

/// Lists the devices that have access to an account.
#[derive(Debug)]
pub struct ListDevices;

/// Takes back the access of a device.
#[derive(Debug)]
pub struct RevokeDevice;

/// The devices of an account, those seen last first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// All of them; their number is bounded by the engine.
    pub devices: Vec<Device>,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// What names it.
    pub id: String,
    /// Its software, as it says.
    pub software: Option<String>,
    /// What it says it is.
    pub name: Option<String>,
    /// When it first signed in, in milliseconds since 1970 UTC.
    pub first_ms: i64,
    /// When it last signed in.
    pub last_ms: i64,
    /// Whether it has shown the present password.
    pub knows_password: bool,
    /// Whether it has a token that is good.
    pub has_token: bool,
    /// The addresses of its sessions now.
    pub sessions: Vec<String>,
}

/// A device of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// The account: `name@domain`.
    pub jid: String,
    /// The device, as the list names it.
    pub device: String,
}

/// What came of taking access back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The account.
    pub jid: String,
    /// The device.
    pub device: String,
    /// Sessions that were ended.
    pub sessions: usize,
    /// Whether it can come back until the password is changed.
    pub knows_password: bool,
}

impl Command for ListDevices {
    const NAME: &'static str = "device-list";
    const SUMMARY: &'static str = "List the devices that have access to an account.";
    type Input = Account;
    type Output = Devices;

    async fn run(cx: Cx, input: Account) -> Result<Devices, AdminError> {
        let jid = address(&input.jid)?;
        let all = cx.engine.clients(&jid).await?;
        Ok(Devices { devices: all.into_iter().map(Device::from).collect() })
    }
}

impl Command for RevokeDevice {
    const NAME: &'static str = "device-revoke";
    const SUMMARY: &'static str = "Take back a device's tokens and end its sessions.";
    type Input = Which;
    type Output = Revoked;

    async fn run(cx: Cx, input: Which) -> Result<Revoked, AdminError> {
        let jid = address(&input.jid)?;
        let device = input.device;
        let Some(revoked) = cx.engine.revoke_client(&jid, &device, |_| ()).await? else {
            return Err(AdminError::Refused(format!("{jid} has no device `{device}`")));
        };
        let sessions = revoked.sessions;
        tracing::info!(event = "client_revoked", account = %jid, client = device, sessions, "The access of a client was taken back.");
        let knows_password = revoked.knows_password;
        Ok(Revoked { jid: jid.as_str().to_owned(), device, sessions, knows_password })
    }
}

impl From<Access> for Device {
    fn from(access: Access) -> Self {
        let client = access.client;
        Self {
            id: access.key.to_string(),
            software: client.software,
            name: client.device,
            first_ms: client.first_ms,
            last_ms: client.last_ms,
            knows_password: client.knows_password,
            has_token: access.has_token,
            sessions: access.sessions.iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use stentor_testkit::World;

    use super::*;
    use crate::testing::cx;

    const PHONE: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";

    #[tokio::test]
    async fn devices_are_listed_until_they_have_no_access() {
        let world = World::new();
        world.add_account("juliet@capulet.example").await;
        let juliet = || Account { jid: "juliet@capulet.example".into() };
        let list = async || ListDevices::run(cx(&world), juliet()).await.unwrap().devices;
        assert_eq!(list().await, []);
        let phone = world.sign_in("juliet@capulet.example", PHONE, &[]).await;
        let old = world.connect("juliet@capulet.example/balcony").await;
        let devices = list().await;
        assert_eq!(devices.len(), 2);
        let named = devices.iter().find(|d| d.name.as_deref() == Some(PHONE)).unwrap();
        assert_eq!((named.knows_password, named.has_token), (true, false));
        assert_eq!(named.sessions, [phone.jid()]);

        let which = Which { jid: juliet().jid, device: named.id.clone() };
        let revoked = RevokeDevice::run(cx(&world), which).await.unwrap();
        assert_eq!((revoked.sessions, revoked.knows_password), (1, true));
        assert!(phone.session().resource.outbox.closing().is_some());
        assert!(old.session().resource.outbox.closing().is_none());
        // A session that told no id is a device of its own.
        let unnamed = devices.iter().find(|d| d.name.is_none()).unwrap();
        let which = Which { jid: juliet().jid, device: unnamed.id.clone() };
        assert_eq!(RevokeDevice::run(cx(&world), which).await.unwrap().sessions, 1);
        old.cut().await;
        assert_eq!(list().await.len(), 1, "the phone knows the password");
    }

    #[tokio::test]
    async fn what_is_not_there_is_told() {
        let world = World::new();
        world.add_account("juliet@capulet.example").await;
        let which = Which { jid: "juliet@capulet.example".into(), device: "x".into() };
        let error = RevokeDevice::run(cx(&world), which).await.unwrap_err();
        assert_eq!(error.to_string(), "juliet@capulet.example has no device `x`");
        let nobody = Account { jid: "nobody@capulet.example".into() };
        let error = ListDevices::run(cx(&world), nobody).await.unwrap_err();
        assert_eq!(error.code(), "no-account");
    }
}
