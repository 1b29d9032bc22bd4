// forkbox keys create | list | revoke

#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>

#include "api/auth/key_file.h"
#include "base/clock.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/key_file_path.h"
#include "cli/settings.h"
#include "schema/json.h"

namespace forkbox::cli {

namespace {

class KeysCommand final : public Command {
 public:
  explicit KeysCommand(CLI::App& program)
      : app_(program.add_subcommand("keys", "Make, list and revoke the API keys of a server")),
        settings_(*app_, "keys") {
    settings_.Add("--keys-file", keys_file_,
                  "The file; by default api_keys.json in the working or the data directory");
    settings_.Add("--data-dir", data_dir_, "The server's data directory");
    app_->require_subcommand(1);
    app_->fallthrough();
    create_ = app_->add_subcommand("create", "Make a key and print it, this once");
    create_->add_option("--label", label_, "What the key is for, to tell it from others");
    list_ = app_->add_subcommand("list", "List the keys by id; never the keys themselves");
    list_->add_flag("--json", json_, "As JSON");
    revoke_ = app_->add_subcommand("revoke", "Take a key out of the file");
    revoke_->add_option("id", id_, "As `keys list` shows it")->required();
    app_->footer(
        "\nA server reads its keys when it starts: restart it after a change.\n"
        "Keys are stored as hashes; one that is lost cannot be shown again.\n"
        "\nExamples:\n"
        "  forkbox keys create --label ci\n"
        "  forkbox keys list\n"
        "  forkbox keys revoke 9f86d081884c7d65\n");
  }

  CLI::App* app() const override { return app_; }

  int Run() override {
    if (auto complete = settings_.Complete(); !complete) {
      return Complain(kExitUsage, complete.error().message);
    }
    if (create_->parsed()) return Create();
    const auto path = FindKeyFilePath(keys_file_, data_dir_);
    if (!path)
      return Complain(kExitFailure, "there is no keys file; `forkbox keys create` makes one");
    if (list_->parsed()) return List(*path);
    return Revoke(*path);
  }

 private:
  int Create() {
    auto path = FindKeyFilePath(keys_file_, data_dir_);
    if (!path) {
      std::error_code error;
      std::filesystem::create_directories(data_dir_, error);
      path = (std::filesystem::path(data_dir_) / "api_keys.json").string();
    }
    const auto created = api::CreateKey(*path, label_, SystemClock());
    if (!created) return Complain(kExitFailure, created.error().message);
    std::printf("%s\n", created->key.c_str());
    std::fprintf(stderr,
                 "Key %s is in %s, as a hash: keep the key now, it cannot be shown again.\n"
                 "Servers that read this file take it from their next start on.\n",
                 created->entry.id.c_str(), path->c_str());
    return kExitOk;
  }

  int List(const std::string& path) {
    const auto keys = api::LoadKeyFile(path);
    if (!keys) return Complain(kExitFailure, keys.error().message);
    if (json_) {
      nlohmann::json all = nlohmann::json::array();
      for (const auto& key : *keys) {
        all.push_back({{"id", key.id},
                       {"label", key.label},
                       {"created_at", key.created_at},
                       {"hashed", key.hashed}});
      }
      std::printf("%s\n", schema::DumpJson(all).c_str());
      return kExitOk;
    }
    std::printf("%-18s %-22s %s\n", "id", "created", "label");
    for (const auto& key : *keys) {
      std::printf("%-18s %-22s %s%s\n", key.id.c_str(),
                  key.created_at.empty() ? "-" : key.created_at.c_str(), key.label.c_str(),
                  key.hashed ? "" : " (in the file as it is, not as a hash)");
    }
    return kExitOk;
  }

  int Revoke(const std::string& path) {
    if (auto revoked = api::RevokeKey(path, id_); !revoked) {
      return Complain(kExitFailure, revoked.error().message);
    }
    std::fprintf(stderr, "Revoked %s; a running server takes it until its next start.\n",
                 id_.c_str());
    return kExitOk;
  }

  CLI::App* const app_;
  Settings settings_;
  CLI::App* create_ = nullptr;
  CLI::App* list_ = nullptr;
  CLI::App* revoke_ = nullptr;
  std::string keys_file_;
  std::string data_dir_ = "./var";
  std::string label_;
  std::string id_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeKeysCommand(CLI::App& program) {
  return std::make_unique<KeysCommand>(program);
}

}  // namespace forkbox::cli
