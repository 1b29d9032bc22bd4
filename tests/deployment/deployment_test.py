#!/usr/bin/python3
"""docker/ agrees with itself, with the program, and with what docs/deploy.md promises.

Needs no network and no container engine. What YAML is comes from python3-yaml, what Prometheus makes
of our rules from promtool (scripts/setup.sh --servers brings both).
"""

import json
import os
import re
import shutil
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
LONGEST_PROGRAM_SECONDS = 300

try:
    import yaml
except ImportError:
    yaml = None


def read(path):
    return (ROOT / path).read_text()


def without_comments(text):
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


if yaml:

    class StrictLoader(yaml.SafeLoader):
        """Two keys of one name are a mistake; YAML's own rule is that the last one wins."""

    def mapping(loader, node, deep=False):
        names = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise ValueError(f"{node.start_mark}: repeated: {', '.join(sorted(repeated))}")
        return yaml.SafeLoader.construct_mapping(loader, node, deep)

    def construct(loader, node):
        data = {}
        yield data
        data.update(mapping(loader, node))

    StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, construct)


def documents(path):
    return [d for d in yaml.load_all((DOCKER / path).read_text(), StrictLoader) if d is not None]


def manifests():
    """Every object of docker/kubernetes, by (kind, name)."""
    objects = {}
    for file in sorted((DOCKER / "kubernetes").glob("*.yaml")):
        for document in documents(file):
            if document["kind"] != "Kustomization":
                objects[document["kind"], document["metadata"]["name"]] = document
    return objects


def bare(capability):
    return capability.removeprefix("CAP_")


class Dockerfile:
    """Instructions as (name, rest), continuation lines joined."""

    def __init__(self, text):
        joined = re.sub(r"\\\n\s*", "", without_comments(text))
        self.instructions = [tuple(line.split(None, 1)) for line in joined.splitlines() if line]
        self.stages = {}
        for name, rest in self.instructions:
            if name == "FROM":
                parent, _, stage = rest.partition(" AS ")
                self.stages[stage] = [("FROM", parent)]
            elif self.stages:
                self.stages[stage].append((name, rest))

    def inherited(self, stage, name):
        """The value of the last `name` of a stage or of those it is made from; None without."""
        found = [rest for key, rest in self.stages[stage] if key == name]
        parent = self.stages[stage][0][1]
        if found:
            return found[-1]
        return self.inherited(parent, name) if parent in self.stages else None


class Images(unittest.TestCase):
    dockerfile = Dockerfile(read("docker/Dockerfile"))

    def test_every_instruction_is_one(self):
        known = "ARG FROM WORKDIR COPY RUN ENV USER EXPOSE HEALTHCHECK ENTRYPOINT CMD".split()
        for name, rest in self.dockerfile.instructions:
            self.assertIn(name, known)
            if rest.startswith("["):
                self.assertIsInstance(json.loads(rest), list)

    def test_bases_are_pinned(self):
        arguments = dict(
            rest.split("=", 1) for name, rest in self.dockerfile.instructions if name == "ARG")
        for stage, instructions in self.dockerfile.stages.items():
            parent = instructions[0][1]
            if parent in self.dockerfile.stages:
                continue
            base = re.sub(r"\$\{(\w+)\}", lambda m: arguments[m[1]], parent)
            self.assertRegex(base, r"^[\w./-]+:\d+\.\d+[\w.-]*$", stage)

    def test_only_the_runner_is_root(self):
        for stage in ("api", "webhook"):
            self.assertRegex(self.dockerfile.inherited(stage, "USER") or "", r"^[1-9]\d*:[1-9]\d*$")
        self.assertIsNone(self.dockerfile.inherited("runner", "USER"))

    def test_health_is_watched_or_said_not_to_be(self):
        for stage in ("api", "webhook", "runner"):
            self.assertIsNotNone(self.dockerfile.inherited(stage, "HEALTHCHECK"), stage)

    def test_no_secret_is_baked_in(self):
        for name, rest in self.dockerfile.instructions:
            if name in ("ENV", "ARG"):
                self.assertNotRegex(rest, r"(?i)passw|secret|token|key|://")

    def test_what_is_copied_is_there_and_may_be_seen(self):
        ignore = read("docker/Dockerfile.dockerignore").split()
        seen = [line[1:] for line in ignore if line.startswith("!")]
        for name, rest in self.dockerfile.instructions:
            if name != "COPY" or rest.startswith("--from=") or rest == ". .":
                continue
            for source in rest.split()[:-1]:
                self.assertTrue((ROOT / source).exists(), source)
                self.assertTrue(any(Path(source).is_relative_to(s) for s in seen), source)
        # A room that the build needs and the list forgets would only be missed at the next build.
        rooms = re.findall(r"add_subdirectory\((\w+)\)", read("CMakeLists.txt"))
        for room in set(rooms) - {"tests"}:
            self.assertIn(room, seen)

    def test_scripts_are_scripts(self):
        for file in (DOCKER / "image").iterdir():
            self.assertTrue(os.access(file, os.X_OK), file)
            shell = file.read_text().splitlines()[0].removeprefix("#!")
            subprocess.run([shell, "-n", file], check=True)


@unittest.skipUnless(yaml, "python3-yaml is not installed (scripts/setup.sh --servers)")
class Deployments(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.compose = documents("compose.yml")[0]
        cls.services = cls.compose["services"]
        cls.objects = manifests()
        cls.units = {
            file.stem.removeprefix("forkbox-"): without_comments(file.read_text())
            for file in (DOCKER / "systemd").glob("*.service")}
        cls.pods = {name.removeprefix("forkbox-"): workload["spec"]["template"]["spec"]
                    for (kind, name), workload in cls.objects.items() if kind == "Deployment"}

    def container(self, role):
        return self.pods[role]["containers"][0]

    def test_yaml_and_json_can_be_read(self):
        for file in DOCKER.rglob("*"):
            if file.suffix in (".yml", ".yaml"):
                documents(file)
            elif file.suffix == ".json":
                json.loads(file.read_text())

    def test_runners_have_the_same_capabilities_everywhere(self):
        table = read("docs/deploy.md")
        documented = set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.M))
        self.assertEqual(len(documented), 10)
        unit = re.findall(r"^CapabilityBoundingSet=(.*)$", self.units["runner"], re.M)
        profile = re.findall(r"^  capability (\w+),", read("docker/apparmor/forkbox-runner"), re.M)
        pod = self.container("runner")["securityContext"]["capabilities"]
        for where, capabilities in {
                "compose": self.services["runner"]["cap_add"],
                "kubernetes": pod["add"],
                "systemd": [bare(name) for name in " ".join(unit).split()],
                "apparmor": [name.upper() for name in profile],
        }.items():
            self.assertEqual(set(capabilities), documented, where)
            self.assertEqual(len(capabilities), len(documented), where)

    def test_everybody_else_has_none(self):
        for name in ("proxy", "api", "runner", "webhook", "prometheus", "grafana"):
            self.assertEqual(self.services[name]["cap_drop"], ["ALL"], name)
            self.assertTrue(self.services[name]["read_only"], name)
            if name != "runner":
                self.assertNotIn("cap_add", self.services[name])
        for role in ("api", "webhook"):
            self.assertEqual(self.container(role)["securityContext"]["capabilities"],
                             {"drop": ["ALL"]})
            self.assertFalse(self.container(role)["securityContext"]["allowPrivilegeEscalation"])
            self.assertTrue(self.pods[role]["securityContext"]["runAsNonRoot"])
            self.assertIn("\nCapabilityBoundingSet=\n", self.units[role])

    def test_nothing_is_privileged_and_nobody_holds_the_engine(self):
        for name, service in self.services.items():
            self.assertNotIn("privileged", service, name)
            self.assertIn("no-new-privileges:true", service["security_opt"], name)
            self.assertNotIn("docker.sock", json.dumps(service), name)
            self.assertNotIn("host", json.dumps(service.get("cgroup", "")), name)
        for role, pod in self.pods.items():
            for key in ("hostNetwork", "hostPID", "hostIPC"):
                self.assertNotIn(key, pod, role)
            self.assertNotIn("hostPath", json.dumps(pod), role)
            self.assertFalse(pod["automountServiceAccountToken"], role)
            self.assertFalse(self.container(role)["securityContext"].get("privileged", False))

    def test_there_is_no_password_to_deploy_by_mistake(self):
        text = read("docker/compose.yml")
        for name in ("POSTGRES_PASSWORD", "RABBITMQ_PASSWORD"):
            uses = re.findall(r"\$\{%s(.{0,2})" % name, text)
            self.assertGreater(len(uses), 1)
            self.assertEqual(set(uses), {":?"}, name)
        example = dict(line.split("=", 1) for line in without_comments(
            read("docker/env.example")).splitlines() if line)
        for name, value in example.items():
            if name.endswith("PASSWORD"):
                self.assertEqual(value, "", name)
        for (kind, name), document in self.objects.items():
            if kind == "Secret":
                self.assertEqual(set(document["stringData"].values()), {""}, name)
        self.assertNotIn("secrets.example.yaml",
                         documents("kubernetes/kustomization.yaml")[0]["resources"])
        ignored = read(".gitignore").split()
        self.assertIn("/docker/.env", ignored)
        self.assertIn("/docker/secrets/", ignored)

    def test_settings_exist(self):
        flags = set(re.findall(r'Add\("--([a-z-]+)"', read("cli/server_config.cc")))
        known = {"FORKBOX_" + flag.upper().replace("-", "_") for flag in flags} | {"FORKBOX_CONFIG"}
        self.assertIn("FORKBOX_LISTEN", known)
        used = set()
        for role in ("api", "runner", "webhook"):
            used |= set(self.services[role]["environment"])
            used |= {entry["name"] for entry in self.container(role)["env"]}
        for kind, name in (("ConfigMap", "forkbox-settings"), ("Secret", "forkbox-servers")):
            document = self.objects[kind, name]
            used |= set(document.get("data", {})) | set(document.get("stringData", {}))
        used |= set(re.findall(r"FORKBOX_\w+", "\n".join(self.units.values())))
        used |= {name.split("=")[0] for _, name in Images.dockerfile.instructions
                 if name.startswith("FORKBOX_")}
        self.assertEqual(used - known, set())

    def test_who_stops_waits_for_the_drain(self):
        def seconds(text):
            return int(str(text).removesuffix("s"))

        default = int(re.search(r"drain_seconds = (\d+)", read("cli/server_config.h"))[1])
        for role in ("api", "runner", "webhook"):
            service = self.services[role]
            drain = int(service["environment"].get("FORKBOX_DRAIN_SECONDS", default))
            self.assertGreaterEqual(seconds(service["stop_grace_period"]), drain + 10, role)
            env = {entry["name"]: entry["value"] for entry in self.container(role)["env"]}
            drain = int(env.get("FORKBOX_DRAIN_SECONDS", default))
            self.assertGreaterEqual(
                self.pods[role]["terminationGracePeriodSeconds"], drain + 15, role)
            stop = re.search(r"^TimeoutStopSec=(\d+)$", self.units[role], re.M)
            self.assertGreaterEqual(int(stop[1]), default + 10, role)

    def test_the_longest_program_is_not_taken_for_a_dead_one(self):
        conf = dict(line.split(" = ") for line in without_comments(
            read("docker/rabbitmq/forkbox.conf")).splitlines() if line)
        self.assertGreater(int(conf["consumer_timeout"]), 2 * 1000 * LONGEST_PROGRAM_SECONDS)
        timeout = re.search(r"proxy_read_timeout (\d+)s", read("docker/proxy/nginx.conf"))
        self.assertGreater(int(timeout[1]), LONGEST_PROGRAM_SECONDS)

    def test_scaling_looks_at_queues_that_exist(self):
        prefix = self.objects["ConfigMap", "forkbox-settings"]["data"]["FORKBOX_QUEUE_PREFIX"]
        lanes = set(re.findall(r'Priority::k\w+, "(\w+)"', read("schema/execution.cc")))
        self.assertEqual(lanes, {"interactive", "background"})
        scaler = self.objects["ScaledObject", "forkbox-runner"]["spec"]
        queues = [trigger["metadata"]["queueName"] for trigger in scaler["triggers"]]
        self.assertEqual(set(queues), {prefix + lane for lane in lanes})
        for trigger in scaler["triggers"]:
            reference = trigger["authenticationRef"]["name"]
            self.assertIn(("TriggerAuthentication", reference), self.objects)
        self.assertIn(("Deployment", scaler["scaleTargetRef"]["name"]), self.objects)

    def test_selectors_find_their_pods(self):
        labels = [workload["spec"]["template"]["metadata"]["labels"]
                  for (kind, _), workload in self.objects.items() if kind == "Deployment"]
        for (kind, name), document in self.objects.items():
            spec = document.get("spec", {})
            selector = spec.get("podSelector", spec.get("selector"))
            if selector is None:
                continue
            selector = selector.get("matchLabels", selector)
            found = [pod for pod in labels if selector.items() <= pod.items()]
            self.assertTrue(found, (kind, name))
        listed = set(documents("kubernetes/kustomization.yaml")[0]["resources"])
        files = {file.name for file in (DOCKER / "kubernetes").glob("*.yaml")}
        self.assertEqual(listed, files - {"kustomization.yaml", "secrets.example.yaml"})

    def test_runners_reach_the_two_servers_and_nothing_else(self):
        networks = self.compose["networks"]
        for network in self.services["runner"]["networks"]:
            self.assertTrue(networks[network]["internal"])
            there = {name for name, service in self.services.items()
                     if network in service["networks"]}
            self.assertEqual(there, {"runner", "rabbitmq", "postgres"})
        runner = {"app.kubernetes.io/name": "forkbox", "app.kubernetes.io/component": "runner"}
        reached = set()
        for (kind, name), document in self.objects.items():
            if kind != "NetworkPolicy":
                continue
            if document["spec"]["podSelector"]["matchLabels"].items() <= runner.items():
                for rule in document["spec"].get("egress", []):
                    for peer in rule["to"]:
                        self.assertNotIn("ipBlock", peer, name)
                        reached |= set(peer["podSelector"]["matchLabels"].values())
                self.assertNotIn("ingress", document["spec"], name)
        self.assertEqual(reached, {"rabbitmq", "postgres", "kube-dns"})

    def test_probes_ask_for_what_is_served(self):
        routes = re.findall(r'"(/[\w/]*)"', read("api/native_api.cc") + read("api/api_server.cc"))
        container = self.container("api")
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            self.assertIn(container[probe]["httpGet"]["path"], routes)
        self.assertEqual(container["readinessProbe"]["httpGet"]["path"], "/api/v1/health")
        self.assertIn("/api/v1/health", read("docker/image/forkbox-healthcheck"))

    def test_seccomp_leaves_the_forkserver_what_it_calls(self):
        profile = json.loads(read("docker/seccomp/forkbox-runner.json"))
        denied = [name for rule in profile["syscalls"] for name in rule["names"]]
        self.assertEqual(len(denied), len(set(denied)))
        needed = {"capset", "clone", "clone3", "close_range", "mknod", "mount", "pidfd_open",
                  "pidfd_send_signal", "pivot_root", "prctl", "process_vm_readv", "seccomp",
                  "setgroups", "sethostname", "setns", "setresuid", "umount2"}
        self.assertEqual(needed & set(denied), set())
        # Whatever a runner is refused, its programs are refused by their own filter as well.
        source = read("runner/sandbox/forkserver/seccomp_filter.cc")
        own = set(re.findall(r'\{E\w+, "(\w+)"\}', source))
        absent = {"query_module"}  # gone since Linux 2.6
        self.assertEqual(set(denied) - own - absent, set())


class Monitoring(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        source = read("api/metrics.cc")
        cls.names = set(re.findall(r'"((?:forkbox|zeroboot)_\w+)"', source))
        for name in re.findall(r'AddHistogram\(\s*"(\w+)"', source):
            cls.names |= {name + suffix for suffix in ("_bucket", "_sum", "_count")}

    def used(self, text):
        return set(re.findall(r"\b(?:forkbox|zeroboot)_\w+", text))

    @unittest.skipUnless(yaml, "python3-yaml is not installed (scripts/setup.sh --servers)")
    def test_alerts_name_metrics_that_exist(self):
        rules = documents("monitoring/alerts.yml")[0]["groups"][0]["rules"]
        for rule in rules:
            self.assertTrue(self.used(rule["expr"]) or rule["expr"].startswith("up{"), rule["alert"])
            self.assertEqual(self.used(rule["expr"]) - self.names, set(), rule["alert"])
            self.assertIn(rule["labels"]["severity"], ("warning", "critical"))
        tests = read("docker/monitoring/alerts_test.yml")
        self.assertEqual(self.used(tests) - self.names, set())
        for rule in rules:
            self.assertIn(f"alertname: {rule['alert']}\n", tests)

    def test_the_dashboard_names_metrics_that_exist(self):
        board = json.loads(read("docker/monitoring/grafana/dashboards/forkbox.json"))
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        self.assertEqual(len({panel["id"] for panel in board["panels"]}), len(board["panels"]))
        for panel in panels:
            for target in panel["targets"]:
                used = self.used(target["expr"])
                self.assertTrue(used, panel["title"])
                self.assertEqual(used - self.names, set(), panel["title"])

    def test_promtool_agrees(self):
        promtool = ROOT / ".deps/promtool/promtool"
        promtool = str(promtool) if promtool.exists() else shutil.which("promtool")
        if promtool is None:
            self.skipTest("no promtool (scripts/setup.sh --servers)")
        folder = DOCKER / "monitoring"
        for arguments in (["check", "config", "--syntax-only", "prometheus.yml"],
                          ["check", "rules", "alerts.yml"],
                          ["test", "rules", "alerts_test.yml"]):
            done = subprocess.run([promtool, *arguments], cwd=folder, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
