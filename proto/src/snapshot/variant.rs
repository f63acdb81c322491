//! Enumerations: the wire's have a zero that means nothing was said, and may grow.

use netclaim_core::{
    attachment::ProbeMode,
    failure::Step,
    inventory::{LinkState, Mode},
    snapshot::{InterfaceState, Role, Severity},
};

use crate::{
    field::{InvalidField, Problem},
    observe as pb,
};

macro_rules! variants {
    ($($read:ident: $core:ident as $wire:ident { $($variant:ident),* })*) => {$(
        impl From<$core> for pb::$wire {
            fn from(value: $core) -> Self {
                match value {
                    $($core::$variant => Self::$variant,)*
                }
            }
        }

        pub(super) fn $read(field: &str, value: i32) -> Result<$core, InvalidField> {
            match pb::$wire::try_from(value) {
                $(Ok(pb::$wire::$variant) => Ok($core::$variant),)*
                Ok(pb::$wire::Unspecified) | Err(_) => {
                    let of = stringify!($wire);
                    Err(InvalidField::new(field, Problem::Variant { found: value, of }))
                }
            }
        }
    )*};
}

variants! {
    role: Role as Role { Active, Standby }
    mode: Mode as DeviceMode { Shared, Exclusive }
    link_state: LinkState as LinkState { Up, Down, Gone }
    interface_state: InterfaceState as InterfaceState {
        Waiting, Attaching, Attached, Detaching, Failed, Ended
    }
    probe_mode: ProbeMode as ProbeMode { Tcx, Tc }
    step: Step as Step { Prepare, Plan, Journal, CniAdd, Probe, CniDel, Status }
    severity: Severity as Severity { Notice, Warning, Fault }
}
