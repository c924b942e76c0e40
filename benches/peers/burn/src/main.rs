//! Burn's norms behind the protocol of `wgpu-norm bench --peer`: cases and numbers of runs come on stdin, times go to
//! stdout.

mod norms;
mod protocol;
mod reference;

use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{Device, DeviceKind};

use norms::{Prepared, prepare};
use protocol::{Hello, Reply, Request};

fn main() -> std::io::Result<()> {
    let device = Device::vulkan(DeviceKind::DefaultDevice);
    let adapter = device.identity().map_or_else(|| "unknown".into(), |identity| identity.name);
    let stdout = std::io::stdout();
    let say = |line: String| writeln!(stdout.lock(), "{line}").and_then(|()| stdout.lock().flush());
    say(serde_json::to_string(&Hello { peer: name(), adapter })?)?;
    let mut prepared = None;
    for line in std::io::stdin().lock().lines() {
        say(serde_json::to_string(&answer(&device, &line?, &mut prepared))?)?;
    }
    Ok(())
}

/// Burn's version as the lock file has it, and how it was built.
fn name() -> String {
    let (_, entry) = include_str!("../Cargo.lock").split_once("name = \"burn\"\nversion = \"").unwrap_or_default();
    let version = entry.split('"').next().unwrap_or_default();
    let built_with = |feature, with| if with { feature } else { "" };
    let fusion = built_with(" fusion", cfg!(feature = "fusion"));
    format!("burn {version}{fusion}{}", built_with(" autotune", cfg!(feature = "autotune")))
}

/// Carries a request out. Burn panics where it fails; that is an answer too.
fn answer(device: &Device, line: &str, prepared: &mut Option<Box<dyn Prepared>>) -> Reply {
    let carry_out = || match serde_json::from_str(line).map_err(|error| format!("cannot read {line:?}: {error}"))? {
        Request::Case(case) => {
            // the memory of the last case first
            *prepared = None;
            device.memory_cleanup();
            *prepared = Some(prepare(device, &case)?);
            Ok(Reply::Ready(true))
        }
        Request::Run(count) => {
            let case = prepared.as_mut().ok_or("no case is ready")?;
            case.run(count).map(Reply::Seconds)
        }
    };
    catch_unwind(AssertUnwindSafe(carry_out))
        .unwrap_or_else(|panic| Err(message(&*panic)))
        .unwrap_or_else(Reply::Unsupported)
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("Burn panicked: {}", text.unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every module agrees with the CPU (`prepare` checks that), and what Burn has not is refused with its reason.
    #[test]
    fn cases_are_prepared_or_refused() {
        let device = Device::vulkan(DeviceKind::DefaultDevice);
        let ready = Reply::Ready(true);
        for (variant, shape, format, pass, groups, training, refusal) in [
            ("layer", "[5,37]", "rows", "forward", "null", "false", ""),
            ("rms", "[5,37]", "rows", "forward", "null", "false", ""),
            ("instance", "[2,6,5,7]", "channels-first", "forward", "null", "false", ""),
            ("group", "[2,6,5,7]", "channels-first", "forward", "3", "false", ""),
            ("batch", "[2,6,5,7]", "channels-first", "forward", "null", "false", ""),
            ("batch", "[2,6,5,7]", "channels-first", "forward", "null", "true", ""),
            ("batch", "[3,6]", "channels-first", "training", "null", "true", ""),
            ("group", "[2,6,5,7]", "channels-first", "forward", "4", "false", "4 groups do not divide 6 channels"),
            ("group", "[2,6,5,7]", "channels-last", "forward", "3", "false", "channels first only"),
            ("layer", "[5,37]", "rows", "backward", "null", "false", "autodiff"),
            ("layer", "[5,37]", "rows", "training", "null", "false", "autodiff"),
            ("lp", "[5,37]", "rows", "forward", "null", "false", "no lp of rows"),
            ("layer", "[37]", "rows", "forward", "null", "false", "fewer than two axes"),
            ("layer", "[5,0]", "rows", "forward", "null", "false", "no elements"),
        ] {
            let case = format!(
                r#"{{"case":{{"variant":"{variant}","shape":{shape},"format":"{format}","pass":"{pass}","groups":{groups},"training":{training},"eps":1e-5}}}}"#
            );
            let mut prepared = None;
            match answer(&device, &case, &mut prepared) {
                reply if refusal.is_empty() => assert_eq!(reply, ready, "{case}"),
                Reply::Unsupported(reason) => assert!(reason.contains(refusal), "{case}: {reason}"),
                reply => panic!("{case}: {reply:?}"),
            }
            match answer(&device, r#"{"run":3}"#, &mut prepared) {
                Reply::Seconds(seconds) => assert!(refusal.is_empty() && seconds > 0.0, "{case}"),
                reply => assert!(!refusal.is_empty(), "{case}: {reply:?}"),
            }
        }
        let reply = answer(&device, "garbage", &mut None);
        assert!(matches!(&reply, Reply::Unsupported(reason) if reason.contains("garbage")), "{reply:?}");
    }
}
