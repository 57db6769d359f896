//! The shipped Containerfile has what it copies, and the manifests fit the image. `tests/container`
//! builds and runs the image: that takes root and base images.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use kanidm_ldap_sync::cli::{Cli, Mode};
use kanidm_ldap_sync::config::{client, sync};
use serde::Deserialize;
use serde_yaml_ng::Value;

use crate::support::process::run;
use crate::support::temp::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn container(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join("examples/container").join(name)).unwrap()
}

/// What the ignore file lets through: everything is ignored but for the lines that begin with `!`.
fn context() -> Vec<PathBuf> {
    let text = container("Containerfile.dockerignore");
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"));
    lines.map(|line| PathBuf::from(line.strip_prefix('!').expect(line))).collect()
}

/// The instructions that begin with a word, without it.
fn instructions(word: &str) -> Vec<String> {
    container("Containerfile")
        .lines()
        .filter_map(|line| Some(line.strip_prefix(word)?.trim().to_owned()))
        .collect()
}

/// `COPY . .` copies the sources that the program is made of: all of them, and not the rest of the
/// tree.
#[test]
fn the_program_can_be_built_from_what_is_copied() {
    let folder = TempDir::new("container");
    // What only the source archive of a release has: the crates, and the word that they are there.
    let vendored = ["vendor", ".cargo"].map(PathBuf::from);
    assert!(vendored.iter().all(|path| context().contains(path)));
    for path in context() {
        if vendored.contains(&path) && !Path::new(ROOT).join(&path).exists() {
            continue;
        }
        let target = folder.path().join(&path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        run(Command::new("cp").arg("-r").arg(Path::new(ROOT).join(&path)).arg(target));
    }
    assert_eq!(instructions("COPY")[0], ". .");
    // In the folder of this test, where the crates are already.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut check = Command::new(env!("CARGO"));
    check
        .args(["check", "--quiet", "--locked", "--offline", "--bin", "kanidm-ldap-sync"])
        .current_dir(folder.path());
    run(check.env("CARGO_TARGET_DIR", target));
}

/// What the first stage runs is there and may be executed; what the second takes is what that
/// makes, and what the container starts.
#[test]
fn the_program_is_taken_from_where_it_is_built() {
    let commands = instructions("RUN");
    let [script] = &commands[..] else { panic!("one command") };
    assert!(context().contains(&PathBuf::from(script)));
    let text = fs::read_to_string(Path::new(ROOT).join(script)).unwrap();
    assert!(
        text.contains("target=${CARGO_TARGET_DIR:-$root/target}")
            && text.contains("what=(--bin kanidm-ldap-sync) folder=release")
    );
    let folder = &instructions("WORKDIR")[0];
    let program = "/usr/bin/kanidm-ldap-sync";
    assert_eq!(
        instructions("COPY")[1],
        format!("--from=build {folder}/target/release/kanidm-ldap-sync {program}")
    );
    assert_eq!(instructions("ENTRYPOINT"), [format!("[\"{program}\"]")]);
}

/// What the program makes of these arguments.
fn cli(arguments: &Value) -> Cli {
    let arguments = arguments.as_sequence().unwrap().iter().map(|one| one.as_str().unwrap().into());
    Cli::parse(arguments, &|_| None).unwrap()
}

/// The arguments of a command that begins with the program in the image.
fn of_the_program(command: &Value) -> Value {
    let (program, arguments) = command.as_sequence().unwrap().split_first().unwrap();
    assert_eq!(instructions("ENTRYPOINT"), [format!("[\"{}\"]", program.as_str().unwrap())]);
    Value::Sequence(arguments.to_vec())
}

#[test]
fn the_compose_file_runs_the_image_with_no_right_that_it_does_not_need() {
    let compose: Value = serde_yaml_ng::from_str(&container("compose.yaml")).unwrap();
    let service = &compose["services"]["ldap-sync"];
    let build = &service["build"];
    let root = Path::new(ROOT).join("examples/container").join(build["context"].as_str().unwrap());
    assert!(root.join(build["dockerfile"].as_str().unwrap()).is_file());
    assert_eq!(cli(&service["command"]).mode, Mode::Schedule);
    assert_eq!(vec![service["user"].as_str().unwrap()], instructions("USER"));
    assert_eq!(service["read_only"], Value::Bool(true));
    assert_eq!(service["cap_drop"][0], "ALL");
    assert_eq!(service["security_opt"][0], "no-new-privileges:true");
    assert!(service["volumes"][0].as_str().unwrap().ends_with(":/etc/kanidm:ro"));
    // The health check of the image, option by option.
    let check = &service["healthcheck"];
    let test = check["test"].as_sequence().unwrap();
    assert_eq!(test[0], "CMD");
    assert_eq!(cli(&of_the_program(&Value::Sequence(test[1..].to_vec()))).mode, Mode::Status);
    for option in ["interval", "timeout", "start_period", "retries"] {
        let value = serde_yaml_ng::to_string(&check[option]).unwrap();
        let spelled = format!("--{}={}", option.replace('_', "-"), value.trim());
        assert!(instructions("HEALTHCHECK")[0].contains(&spelled), "{spelled}");
    }
}

#[test]
fn the_kubernetes_manifest_runs_the_image_with_no_right_that_it_does_not_need() {
    let text = container("kubernetes.yaml");
    let documents: Vec<Value> = serde_yaml_ng::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect();
    let of_kind = |kind: &str| documents.iter().find(|one| one["kind"] == kind).expect(kind);
    let deployment = &of_kind("Deployment")["spec"];
    assert_eq!(deployment["replicas"], 1);
    assert_eq!(deployment["strategy"]["type"], "Recreate");
    let labels = &deployment["template"]["metadata"]["labels"];
    assert_eq!(&deployment["selector"]["matchLabels"], labels);

    let pod = &deployment["template"]["spec"];
    let user = instructions("USER")[0].split_once(':').unwrap().0.parse::<u64>().unwrap();
    for id in ["runAsUser", "runAsGroup", "fsGroup"] {
        assert_eq!(pod["securityContext"][id], user, "{id}");
    }
    let [container] = &pod["containers"].as_sequence().unwrap()[..] else {
        panic!("one container")
    };
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
    assert_eq!(cli(&container["args"]).mode, Mode::Schedule);
    let probe = &container["readinessProbe"]["exec"]["command"];
    assert_eq!(cli(&of_the_program(probe)).mode, Mode::Status);
    assert!(container.get("livenessProbe").is_none());

    // The files as the Pod has them, and both configurations.
    let folder = TempDir::new("pod");
    for volume in pod["volumes"].as_sequence().unwrap() {
        let (source, values, name) = match volume.get("secret") {
            Some(secret) => (of_kind("Secret"), "stringData", &secret["secretName"]),
            None => (of_kind("ConfigMap"), "data", &volume["configMap"]["name"]),
        };
        assert_eq!(&source["metadata"]["name"], name);
        let mounts = container["volumeMounts"].as_sequence().unwrap();
        let mount = mounts.iter().find(|mount| mount["name"] == volume["name"]).unwrap();
        assert_eq!(mount["readOnly"], true);
        let place = folder.path().join(&mount["mountPath"].as_str().unwrap()[1..]);
        fs::create_dir_all(&place).unwrap();
        // Kubernetes' own default, unless the manifest says otherwise.
        let mode = volume.get("secret").and_then(|secret| secret["defaultMode"].as_u64());
        let mode = Permissions::from_mode(mode.map_or(0o644, |mode| mode.try_into().unwrap()));
        let etc = format!("{}/etc/", folder.path().display());
        for (file, value) in source[values].as_mapping().unwrap() {
            let file = place.join(file.as_str().unwrap());
            fs::write(&file, value.as_str().unwrap().replace("/etc/", &etc)).unwrap();
            fs::set_permissions(&file, mode.clone()).unwrap();
        }
    }
    let (config, _) = sync::load(&folder.path().join("etc/kanidm/ldap-sync"), &|_| None).unwrap();
    assert!(config.status_bind.is_some(), "the probe needs it");
    client::load(Some(&folder.path().join("etc/kanidm/config")), None, &|_| None).unwrap();
    let ca = fs::read_to_string(folder.path().join("etc/kanidm/ldap-ca.pem")).unwrap();
    assert!(ca.starts_with("-----BEGIN CERTIFICATE-----"));
}
