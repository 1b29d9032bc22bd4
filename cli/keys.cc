// forkbox keys create | list | revoke | rotate

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/auth/key_file.h"
#include "api/auth/new_key.h"
#include "api/auth/permission.h"
#include "base/clock.h"
#include "base/rfc3339.h"
#include "cli/account_name.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/key_file_path.h"
#include "cli/server_store.h"
#include "cli/settings.h"
#include "schema/json.h"

namespace forkbox::cli {

namespace {

using store::ApiKey;

// Ids of stored keys begin so; those of the file are a hash.
constexpr std::string_view kStoredIdPrefix = "key_";

nlohmann::json TimeOrNull(std::int64_t unix_ms) {
  return unix_ms == 0 ? nlohmann::json(nullptr) : nlohmann::json(Rfc3339Millis(unix_ms));
}

// One line of `keys list`, whichever place it is from.
struct Listed {
  std::string id, owner, name, created, state, permissions;
  nlohmann::json document;
};

Listed Show(const ApiKey& key, std::int64_t now_unix_ms) {
  Listed listed;
  listed.id = key.id.str();
  listed.owner = key.owner.str();
  listed.name = key.name;
  listed.created = Rfc3339Seconds(key.created_unix_ms);
  const bool expired = key.expires_unix_ms != 0 && key.expires_unix_ms <= now_unix_ms;
  listed.state = key.revoked_unix_ms != 0 ? "revoked"
                 : !key.enabled           ? "disabled"
                 : expired                ? "expired"
                                          : "active";
  for (const auto name : api::NamesOf(key.permissions)) {
    if (!listed.permissions.empty()) listed.permissions += ',';
    listed.permissions += name;
  }
  listed.document = {{"id", listed.id},
                     {"owner", listed.owner},
                     {"name", key.name},
                     {"description", key.description},
                     {"prefix", key.prefix},
                     {"permissions", api::NamesOf(key.permissions)},
                     {"state", listed.state},
                     {"created_at", Rfc3339Millis(key.created_unix_ms)},
                     {"last_used_at", TimeOrNull(key.last_used_unix_ms)},
                     {"expires_at", TimeOrNull(key.expires_unix_ms)},
                     {"revoked_at", TimeOrNull(key.revoked_unix_ms)},
                     {"rotated_to", key.rotated_to.str()},
                     {"source", "store"}};
  return listed;
}

Listed Show(const api::KeyEntry& key) {
  Listed listed;
  listed.id = key.id;
  listed.owner = key.id;
  listed.name = key.label + (key.hashed ? "" : " (in the file as it is, not as a hash)");
  listed.created = key.created_at.empty() ? "-" : key.created_at;
  listed.state = "in the file";
  listed.permissions = "full_access";
  listed.document = {{"id", key.id},         {"owner", key.id},
                     {"name", key.label},    {"created_at", key.created_at},
                     {"hashed", key.hashed}, {"source", "file"}};
  return listed;
}

class KeysCommand final : public Command {
 public:
  explicit KeysCommand(CLI::App& program)
      : app_(program.add_subcommand("keys", "Make, list, revoke and rotate the API keys")),
        settings_(*app_, "keys") {
    settings_.Add("--database", database_,
                  "postgres://USER:PASSWORD@HOST/NAME or sqlite:PATH; by default the server's in "
                  "the data directory",
                  Settings::Secrecy::kUrlPassword);
    settings_.Add("--data-dir", data_dir_, "The server's data directory");
    keys_file_option_ =
        settings_.Add("--keys-file", keys_file_,
                      "Of `create`: put the key into this file instead; of the others: the file "
                      "whose keys are meant, too");
    app_->require_subcommand(1);
    app_->fallthrough();
    create_ = app_->add_subcommand("create", "Make a key and print it, this once");
    create_->add_option("--name,--label", name_, "What the key is for, to tell it from others");
    create_->add_option("--owner", owner_, "The account it belongs to; by default \"default\"");
    create_
        ->add_option("--permissions", permissions_,
                     "Of full_access, execute_only, read_only; by default full_access")
        ->delimiter(',');
    create_->add_option("--expires", expires_, "When, like 2027-01-28T00:00:00Z; never by default");
    list_ = app_->add_subcommand("list", "List the keys by id; never the keys themselves");
    list_->add_option("--owner", owner_, "Only this account's");
    list_->add_flag("--json", json_, "As JSON");
    revoke_ = app_->add_subcommand("revoke", "End a key for good");
    revoke_->add_option("id", id_, "As `keys list` shows it")->required();
    rotate_ = app_->add_subcommand("rotate",
                                   "Make a successor with the same rights, print it, and "
                                   "revoke the old key");
    rotate_->add_option("id", id_, "As `keys list` shows it")->required();
    app_->footer(
        "\nA running server takes every change within a second; but a keys file is read at its\n"
        "start only. Keys are stored as hashes; one that is lost cannot be shown again.\n"
        "\nExamples:\n"
        "  forkbox keys create --name ci --owner acme --permissions execute_only\n"
        "  forkbox keys list --owner acme\n"
        "  forkbox keys rotate key_0193f2a45cde7b3a9f0e1d2c3b4a5968\n"
        "  forkbox keys revoke key_0193f2a45cde7b3a9f0e1d2c3b4a5968\n");
  }

  CLI::App* app() const override { return app_; }

  int Run() override {
    // Named here and now, not by the server's environment.
    const bool into_file = keys_file_option_->count() > 0;
    if (auto complete = settings_.Complete(); !complete) {
      return Complain(kExitUsage, complete.error().message);
    }
    if (!owner_.empty() && !IsAccountName(owner_)) {
      return Complain(kExitUsage, "--owner: 1 to 128 letters, digits and . _ - @ :");
    }
    if (create_->parsed()) return into_file ? CreateInFile() : Create();
    if (list_->parsed()) return List();
    if (revoke_->parsed()) return Revoke();
    return Rotate();
  }

 private:
  int Fails(const Error& error) const {
    const bool usage = error.code == ErrorCode::kInvalidArgument;
    return Complain(usage ? kExitUsage : kExitFailure, error.message);
  }

  Result<void> Open(IfMissing if_missing) {
    auto store = OpenServerStore(database_, data_dir_, if_missing);
    if (!store) return Fail(store.error());
    store_ = std::move(*store);
    return {};
  }

  void Note(const ApiKey& key, const char* action) {
    const auto noted = store_->audit().Append({.time_unix_ms = clock_.UnixMillis(),
                                               .owner = key.owner,
                                               .action = action,
                                               .target = key.id.str()});
    if (!noted) Complain(kExitFailure, "the audit log lacks this: " + noted.error().message);
  }

  void Print(const api::NewKey& made) {
    std::printf("%s\n", made.text.c_str());
    std::fprintf(stderr,
                 "Key %s of account %s is in %s, as a hash: keep the key now, it cannot be shown "
                 "again.\n",
                 made.key.id.str().c_str(), made.key.owner.str().c_str(),
                 ServerStoreName(database_, data_dir_).c_str());
  }

  int Create() {
    auto made = api::MakeNewKey(clock_.UnixMillis());
    if (!made) return Fails(made.error());
    ApiKey& key = made->key;
    key.owner = schema::OwnerId(owner_.empty() ? kDefaultAccount : owner_);
    key.name = name_.empty() ? "command line" : name_;
    if (key.name.size() > 200) return Complain(kExitUsage, "--name: at most 200 bytes");
    if (permissions_.empty()) key.permissions = api::kFullAccess;
    for (const std::string& name : permissions_) {
      if (!api::AddPermission(name, &key.permissions)) {
        return Complain(kExitUsage,
                        "--permissions: must be of full_access, execute_only, read_only");
      }
    }
    if (!expires_.empty()) {
      const auto expires = ParseRfc3339(expires_);
      if (!expires || *expires <= clock_.UnixMillis()) {
        return Complain(kExitUsage, "--expires: must be a time to come, like 2027-01-28T00:00:00Z");
      }
      key.expires_unix_ms = *expires;
    }
    if (auto opened = Open(IfMissing::kMake); !opened) return Fails(opened.error());
    if (auto created = store_->keys().Create(key, made->digest.Hex()); !created) {
      return Fails(created.error());
    }
    Note(key, "key.created");
    Print(*made);
    return kExitOk;
  }

  int CreateInFile() {
    if (!owner_.empty() || !permissions_.empty() || !expires_.empty()) {
      return Complain(kExitUsage,
                      "--keys-file: a file knows no --owner, --permissions and --expires; leave it "
                      "out and the key goes to the server's store");
    }
    const auto created = api::CreateKey(keys_file_, name_, clock_);
    if (!created) return Complain(kExitFailure, created.error().message);
    std::printf("%s\n", created->key.c_str());
    std::fprintf(stderr,
                 "Key %s is in %s, as a hash: keep the key now, it cannot be shown again.\n"
                 "Servers that read this file take it from their next start on.\n",
                 created->entry.id.c_str(), keys_file_.c_str());
    return kExitOk;
  }

  int List() {
    std::vector<Listed> all;
    std::vector<Listed> of_file;
    // First, for root may be somebody else afterwards.
    if (const auto path = FindKeyFilePath(keys_file_, data_dir_)) {
      const auto keys = api::LoadKeyFile(*path);
      if (!keys) return Complain(kExitFailure, keys.error().message);
      for (const auto& key : *keys) of_file.push_back(Show(key));
    }
    if (auto opened = Open(IfMissing::kFail); opened) {
      auto keys = store_->keys().ChangedSince(0);
      if (!keys) return Fails(keys.error());
      std::sort(keys->begin(), keys->end(),
                [](const auto& a, const auto& b) { return a.second.id > b.second.id; });
      const std::int64_t now = clock_.UnixMillis();
      for (const auto& [digest, key] : *keys) all.push_back(Show(key, now));
    } else if (opened.error().code != ErrorCode::kNotFound || of_file.empty()) {
      return Fails(opened.error());
    }
    all.insert(all.end(), of_file.begin(), of_file.end());
    std::erase_if(all, [&](const Listed& key) { return !owner_.empty() && key.owner != owner_; });

    if (json_) {
      nlohmann::json documents = nlohmann::json::array();
      for (const Listed& key : all) documents.push_back(key.document);
      std::printf("%s\n", schema::DumpJson(documents).c_str());
      return kExitOk;
    }
    std::printf("%-37s %-18s %-12s %-21s %-24s %s\n", "id", "account", "state", "created",
                "permissions", "name");
    for (const Listed& key : all) {
      std::printf("%-37s %-18s %-12s %-21s %-24s %s\n", key.id.c_str(), key.owner.c_str(),
                  key.state.c_str(), key.created.c_str(), key.permissions.c_str(),
                  key.name.c_str());
    }
    return kExitOk;
  }

  // In the store, by id.
  Result<ApiKey> Find() {
    const auto keys = store_->keys().ChangedSince(0);
    if (!keys) return Fail(keys.error());
    for (const auto& [digest, key] : *keys) {
      if (key.id.str() == id_) return key;
    }
    return Fail(ErrorCode::kNotFound, "no key has the id " + id_);
  }

  int Revoke() {
    if (!id_.starts_with(kStoredIdPrefix)) {
      const auto path = FindKeyFilePath(keys_file_, data_dir_);
      if (!path) return Complain(kExitFailure, "no key has the id " + id_);
      if (auto revoked = api::RevokeKey(*path, id_); !revoked) return Fails(revoked.error());
      std::fprintf(stderr, "Revoked %s in %s; a running server takes it until its next start.\n",
                   id_.c_str(), path->c_str());
      return kExitOk;
    }
    if (auto opened = Open(IfMissing::kFail); !opened) return Fails(opened.error());
    const auto key = Find();
    if (!key) return Fails(key.error());
    if (auto revoked = store_->keys().Revoke(key->owner, key->id, clock_.UnixMillis()); !revoked) {
      return Fails(revoked.error());
    }
    Note(*key, "key.revoked");
    std::fprintf(stderr, "Revoked %s of account %s; running servers refuse it within a second.\n",
                 id_.c_str(), key->owner.str().c_str());
    return kExitOk;
  }

  int Rotate() {
    if (!id_.starts_with(kStoredIdPrefix)) {
      return Complain(kExitFailure, "no key of the store has the id " + id_ +
                                        "; keys of a file are revoked and made anew");
    }
    if (auto opened = Open(IfMissing::kFail); !opened) return Fails(opened.error());
    const auto old = Find();
    if (!old) return Fails(old.error());
    const std::int64_t now = clock_.UnixMillis();
    if (old->expires_unix_ms != 0 && old->expires_unix_ms <= now) {
      return Complain(kExitFailure, "the key has expired, and its successor would be as well");
    }
    auto made = api::MakeNewKey(now);
    if (!made) return Fails(made.error());
    made->key.owner = old->owner;
    made->key.name = old->name;
    made->key.description = old->description;
    made->key.permissions = old->permissions;
    made->key.enabled = old->enabled;
    made->key.expires_unix_ms = old->expires_unix_ms;
    const auto rotated =
        store_->keys().Rotate(old->owner, old->id, made->key, made->digest.Hex(), now);
    if (!rotated) return Fails(rotated.error());
    Note(*old, "key.rotated");
    Note(made->key, "key.created");
    Print(*made);
    return kExitOk;
  }

  const SystemClock clock_;
  CLI::App* const app_;
  Settings settings_;
  CLI::Option* keys_file_option_ = nullptr;
  CLI::App* create_ = nullptr;
  CLI::App* list_ = nullptr;
  CLI::App* revoke_ = nullptr;
  CLI::App* rotate_ = nullptr;
  std::string database_;
  std::string keys_file_;
  std::string data_dir_ = "./var";
  std::string name_;
  std::string owner_;
  std::vector<std::string> permissions_;
  std::string expires_;
  std::string id_;
  bool json_ = false;
  std::unique_ptr<store::Store> store_;
};

}  // namespace

std::unique_ptr<Command> MakeKeysCommand(CLI::App& program) {
  return std::make_unique<KeysCommand>(program);
}

}  // namespace forkbox::cli
