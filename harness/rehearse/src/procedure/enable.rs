//! `enable`: from nothing encrypted to KMS.

use std::time::Duration;

use kms_apiserver_api::Trouble;

use super::{backup, rollout, verify};
use crate::oc;
use crate::report::Part;
use crate::stage::Stage;
use crate::world::{World, node_name};

/// The static pod's manifest. Credentials stay placeholders in everything that is shown.
const MANIFEST: &str = "$ cat > /tmp/vault-kms-plugin.yaml <<'EOF'
apiVersion: v1
kind: Pod
metadata:
  name: vault-kms-plugin
  namespace: kube-system
  labels:
    app: vault-kms-plugin
    tier: control-plane
spec:
  priorityClassName: system-node-critical
  hostNetwork: true
  containers:
  - name: vault-kms-plugin
    image: quay.io/redhat-isv-containers/698df066f8d1ddf179c15ef9:0.1.0-beta-ubi
    command:
    - /vault-kubernetes-kms
    - -vault-address=https://vault.example.com:8200
    - -auth-method=userpass
    - -userpass-username=kms-plugin
    - -userpass-password=<vault_password>
    - -transit-mount=transit
    - -transit-key=kms-key
    - -socket=unix:///var/run/kmsplugin/kms.sock
    volumeMounts:
    - name: kmsplugin
      mountPath: /var/run/kmsplugin
    resources:
      requests:
        cpu: 100m
        memory: 128Mi
      limits:
        cpu: 500m
        memory: 512Mi
    securityContext:
      privileged: true
  volumes:
  - name: kmsplugin
    hostPath:
      path: /var/run/kmsplugin
      type: DirectoryOrCreate
EOF";

const DEPLOY: &str = r#"MANIFEST=$(cat /tmp/vault-kms-plugin.yaml | base64)
$ for node in $(oc get nodes --selector=node-role.kubernetes.io/master -o name | cut -d/ -f2); do
    echo "Deploying to $node..."
    oc debug node/$node -- chroot /host bash -c \
      "echo '$MANIFEST' | base64 -d > /etc/kubernetes/manifests/vault-kms-plugin.yaml"
  done"#;

/// The pods of the plugins.
pub const PODS: &str = "oc get pods -n kube-system -o wide | grep vault-kms";

/// A node's socket.
pub fn socket_command(node: usize) -> String {
    format!(
        "oc debug node/{} -- chroot /host ls -la /var/run/kmsplugin/kms.sock",
        node_name(node)
    )
}

/// Plays it.
///
/// # Errors
/// The rehearsal could not go on.
pub async fn play(mut stage: Stage) -> Result<Part, Trouble> {
    stage
        .begin("backup", "An etcd backup, before anything changes")
        .await?;
    backup::etcd(&mut stage).await?;

    stage
        .begin("manifest", "The plugin's static pod manifest")
        .await?;
    stage.command(MANIFEST.trim_start_matches("$ "), "");
    stage.note("the simulated Vault speaks plain HTTP; everything else of the plugin runs as these flags say");

    stage
        .begin("deploy", "The manifest goes to each control plane node")
        .await?;
    deploy(&mut stage)?;
    stage.world.pass(Duration::from_secs(120)).await;

    stage.begin("pods", "The static pods run").await?;
    let pods = oc::plugin_pods(&stage.world);
    stage.command(PODS, pods.clone());
    let running = pods.lines().filter(|line| line.contains("Running")).count();
    stage.expect(
        "one pod for each control plane node, Running",
        running == stage.world.plan.nodes,
        format!("{running}"),
    );

    stage.begin("socket", "The socket is there").await?;
    for node in 0..stage.world.plan.nodes {
        let listing = oc::socket(&stage.world, node);
        stage.command(socket_command(node), listing.clone());
        stage.expect(
            &format!("a socket on {}", node_name(node)),
            listing.starts_with('s'),
            if listing.starts_with('s') { "" } else { "none" },
        );
    }
    stage.note(
        "a file that is there says nothing about who listens, nor whether Vault lets the plugin in",
    );

    stage
        .begin("edit", "The APIServer resource asks for KMS")
        .await?;
    edit(&mut stage, "KMS", "");

    stage
        .begin(
            "rollout",
            "Operators roll it out and rewrite what is stored",
        )
        .await?;
    let rolled = rollout::watch(&mut stage).await?;
    rollout::judge(&mut stage, &rolled);

    verify::steps(&mut stage, "KMS").await?;
    stage.end("").await
}

fn deploy(stage: &mut Stage) -> Result<(), Trouble> {
    if !stage.is_faulty() || !stage.world.plugins.iter().any(|plugin| plugin.deployed) {
        stage.world.deploy()?;
    }
    let nodes =
        (0..stage.world.plan.nodes).map(|node| format!("Deploying to {}...", node_name(node)));
    stage.command(DEPLOY, nodes.collect::<Vec<_>>().join("\n"));
    Ok(())
}

/// `oc edit apiserver cluster`, and what the API says to it.
pub fn edit(stage: &mut Stage, mode: &str, before: &str) {
    let answer = apply(&mut stage.world, mode);
    let lines = format!(
        "oc edit apiserver cluster\n  spec:\n    encryption:\n      type: {}{mode}",
        if before.is_empty() {
            String::new()
        } else {
            format!("{before} -> ")
        }
    );
    let accepted = answer.is_ok();
    let output = match answer {
        Ok(()) => "apiserver.config.openshift.io/cluster edited".to_owned(),
        Err(refusal) => refusal,
    };
    stage.command(lines, output);
    stage.expect("the change is accepted", accepted, "");
}

/// Changes the spec, unless what is asked for is refused.
fn apply(world: &mut World, mode: &str) -> Result<(), String> {
    if let Some(refusal) = &world.refuses {
        return Err(refusal.clone());
    }
    world.set_type(mode);
    Ok(())
}
