// forkbox doctor: the truth about this host.

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "cli/command.h"
#include "cli/engine.h"
#include "cli/exit_code.h"
#include "cli/host_probe.h"
#include "cli/machine_probe.h"
#include "cli/virtual_machines.h"
#include "schema/json.h"

namespace forkbox::cli {

namespace {

const char* Word(Finding finding) {
  switch (finding) {
    case Finding::kYes:
      return "ok";
    case Finding::kNo:
      return "MISSING";
    case Finding::kOptional:
      return "no";
  }
  return "?";
}

class DoctorCommand final : public Command {
 public:
  explicit DoctorCommand(CLI::App& program)
      : app_(program.add_subcommand(
            "doctor", "What this host can isolate with, language by language, and what it lacks")) {
    app_->add_flag("--json", json_, "As JSON");
    app_->add_flag("--vm", vm_, "Boot a virtual machine as well, which takes up to some minutes");
    app_->add_option("--vm-image", vm_image_, "The folder of its image; else the installation's")
        ->envname("FORKBOX_VM_IMAGE");
    app_->footer(
        "\nEverything is tried, not looked up. The exit code is 0 when programs can be run in a\n"
        "sandbox, even if some protections or languages are missing: those are listed. With --vm "
        "a\n"
        "virtual machine must boot as well.\n");
  }

  CLI::App* app() const override { return app_; }

  int Run() override {
    std::vector<Check> checks = ProbeHost();
    for (Check& check : ProbeMachines(vm_image_)) checks.push_back(std::move(check));
    // While we are root.
    Result<std::unique_ptr<VirtualMachines>> machines = nullptr;
    if (vm_) machines = StartMachines();
    EngineOptions options;
    options.pool_size = 0;
    options.max_sandboxes = 16;
    auto driver = OpenLocalEngine(options);
    bool boots = true;
    if (vm_) {
      checks.push_back(!machines ? NoTemplate(machines.error().message)
                       : !driver ? NoTemplate("not tried, as not even a process can be had")
                                 : Boot(**machines));
      boots = checks.back().finding == Finding::kYes;
    }
    std::vector<sandbox::LanguageStatus> languages;
    std::vector<std::string> missing;
    if (driver) {
      languages = (*driver)->Languages();
      missing = (*driver)->MissingProtections();
    }
    const std::string failure = driver ? "" : driver.error().message;
    if (json_) {
      PrintJson(checks, languages, missing, failure);
    } else {
      PrintText(checks, languages, missing, failure);
    }
    return driver && boots ? kExitOk : kExitFailure;
  }

 private:
  Result<std::unique_ptr<VirtualMachines>> StartMachines() const {
    VirtualMachinesOptions options;
    options.wanted = VirtualMachinesOptions::Wanted::kOn;
    options.image_dir = vm_image_;
    options.pool_size = 0;
    options.max_machines = 4;
    return VirtualMachines::Start(std::move(options));
  }

  static Check NoTemplate(const std::string& why) {
    return {"virtual machines", "template", Finding::kNo, why, ""};
  }

  static Check Boot(VirtualMachines& machines) {
    std::fprintf(stderr, "forkbox: booting a virtual machine …\n");
    machines.Open();
    const auto begun = std::chrono::steady_clock::now();
    const auto ready = machines.WaitUntilReady(begun + kBootPatience);
    const auto took =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - begun);
    const sandbox::vm::VmStatus status = machines.Service().status;
    if (!ready) return NoTemplate(ready.error().message);
    return {"virtual machines", "template", Finding::kYes,
            "ready after " + std::to_string(took.count()) + " s: " + status.design + ", on " +
                status.accelerator + (status.reason.empty() ? "" : "; " + status.reason),
            ""};
  }

  static void PrintText(const std::vector<Check>& checks,
                        const std::vector<sandbox::LanguageStatus>& languages,
                        const std::vector<std::string>& missing, const std::string& failure) {
    std::string group;
    for (const Check& check : checks) {
      if (check.group != group) std::printf("%s\n", check.group.c_str());
      group = check.group;
      std::printf("  %-8s %-11s %s\n", Word(check.finding), check.name.c_str(),
                  check.detail.c_str());
      if (!check.remedy.empty()) std::printf("  %-8s %-11s -> %s\n", "", "", check.remedy.c_str());
    }
    std::printf("sandbox\n");
    if (!failure.empty()) {
      std::printf("  %-8s cannot run programs: %s\n", "MISSING", failure.c_str());
      return;
    }
    std::printf("  %-8s programs run in a sandbox of this kind: process\n", "ok");
    for (const std::string& protection : missing) {
      std::printf("  %-8s %s\n", "MISSING", protection.c_str());
    }
    std::printf("languages\n");
    for (const auto& language : languages) {
      std::printf("  %-8s %-11s %s%s%s\n", language.ready ? "ok" : "MISSING", language.id.c_str(),
                  language.version.c_str(), language.reason.empty() ? "" : "  ",
                  language.reason.c_str());
    }
  }

  static void PrintJson(const std::vector<Check>& checks,
                        const std::vector<sandbox::LanguageStatus>& languages,
                        const std::vector<std::string>& missing, const std::string& failure) {
    nlohmann::json report;
    report["version"] = FORKBOX_VERSION;
    report["checks"] = nlohmann::json::array();
    for (const Check& check : checks) {
      report["checks"].push_back({{"group", check.group},
                                  {"name", check.name},
                                  {"ok", check.finding == Finding::kYes},
                                  {"optional", check.finding == Finding::kOptional},
                                  {"detail", check.detail},
                                  {"remedy", check.remedy}});
    }
    report["sandbox"] = {
        {"ok", failure.empty()}, {"error", failure}, {"missing_protections", missing}};
    report["languages"] = nlohmann::json::array();
    for (const auto& language : languages) {
      report["languages"].push_back({{"id", language.id},
                                     {"name", language.name},
                                     {"aliases", language.aliases},
                                     {"version", language.version},
                                     {"ready", language.ready},
                                     {"reason", language.reason}});
    }
    std::printf("%s\n", schema::DumpJson(report).c_str());
  }

  CLI::App* const app_;
  bool json_ = false;
  bool vm_ = false;
  std::string vm_image_;
};

}  // namespace

std::unique_ptr<Command> MakeDoctorCommand(CLI::App& program) {
  return std::make_unique<DoctorCommand>(program);
}

}  // namespace forkbox::cli
