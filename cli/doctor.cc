// forkbox doctor: the truth about this host.

#include <cstdio>
#include <string>
#include <vector>

#include "base/log.h"
#include "cli/command.h"
#include "cli/engine.h"
#include "cli/exit_code.h"
#include "cli/host_probe.h"
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
    app_->footer(
        "\nEverything is tried, not looked up. The exit code is 0 when programs can be run in a\n"
        "sandbox, even if some protections or languages are missing: those are listed.\n");
  }

  CLI::App* app() const override { return app_; }

  int Run() override {
    const std::vector<Check> checks = ProbeHost();
    EngineOptions options;
    options.pool_size = 0;
    options.max_sandboxes = 16;
    auto driver = OpenLocalEngine(options);
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
    return driver ? kExitOk : kExitFailure;
  }

 private:
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
};

}  // namespace

std::unique_ptr<Command> MakeDoctorCommand(CLI::App& program) {
  return std::make_unique<DoctorCommand>(program);
}

}  // namespace forkbox::cli
