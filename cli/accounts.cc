// forkbox accounts show | set

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "base/clock.h"
#include "cli/account_name.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/server_store.h"
#include "cli/settings.h"
#include "schema/json.h"

namespace forkbox::cli {

namespace {

class AccountsCommand final : public Command {
 public:
  explicit AccountsCommand(CLI::App& program)
      : app_(program.add_subcommand("accounts", "What each account may use")),
        settings_(*app_, "accounts") {
    settings_.Add("--database", database_,
                  "postgres://USER:PASSWORD@HOST/NAME or sqlite:PATH; by default the server's in "
                  "the data directory",
                  Settings::Secrecy::kUrlPassword);
    settings_.Add("--data-dir", data_dir_, "The server's data directory");
    app_->require_subcommand(1);
    app_->fallthrough();
    show_ = app_->add_subcommand("show", "Show an account's limits, and what it used this month");
    show_->add_option("account", account_, "Its name: the owner of its keys")->required();
    show_->add_flag("--json", json_, "As JSON");
    set_ = app_->add_subcommand("set", "Change an account's limits; what is not given stays");
    set_->add_option("account", account_, "Its name: the owner of its keys")->required();
    concurrency_option_ =
        set_->add_option("--concurrency", limits_.concurrency, "Executions at the same time")
            ->check(CLI::Range(1, 20));
    per_minute_option_ = set_->add_option("--per-minute", limits_.executions_per_minute,
                                          "Executions a minute with each key; 0 is no limit")
                             ->check(CLI::Range(0, 1'000'000));
    quota_option_ = set_->add_option("--monthly-quota", limits_.monthly_quota,
                                     "Executions a calendar month (UTC); 0 is no limit")
                        ->check(CLI::Range(std::int64_t{0}, std::int64_t{1'000'000'000'000}));
    app_->footer(
        "\nRunning servers keep to a change within some seconds.\n"
        "\nExamples:\n"
        "  forkbox accounts set acme --concurrency 5 --monthly-quota 10000\n"
        "  forkbox accounts show acme\n");
  }

  CLI::App* app() const override { return app_; }

  int Run() override {
    if (auto complete = settings_.Complete(); !complete) {
      return Complain(kExitUsage, complete.error().message);
    }
    if (!IsAccountName(account_)) {
      return Complain(kExitUsage, "account: 1 to 128 letters, digits and . _ - @ :");
    }
    const bool sets =
        concurrency_option_->count() + per_minute_option_->count() + quota_option_->count() != 0;
    if (set_->parsed() && !sets) {
      return Complain(kExitUsage,
                      "give at least one of --concurrency, --per-minute, --monthly-quota");
    }
    auto store =
        OpenServerStore(database_, data_dir_, set_->parsed() ? IfMissing::kMake : IfMissing::kFail);
    if (!store) return Fails(store.error());
    store_ = std::move(*store);
    const schema::OwnerId owner(account_);
    auto limits = store_->keys().LimitsOf(owner);
    if (!limits) return Fails(limits.error());
    return set_->parsed() ? Set(owner, *limits) : Show(owner, *limits);
  }

 private:
  static int Fails(const Error& error) {
    const bool usage = error.code == ErrorCode::kInvalidArgument;
    return Complain(usage ? kExitUsage : kExitFailure, error.message);
  }

  int Set(const schema::OwnerId& owner, store::AccountLimits limits) {
    if (concurrency_option_->count() != 0) limits.concurrency = limits_.concurrency;
    if (per_minute_option_->count() != 0) {
      limits.executions_per_minute = limits_.executions_per_minute;
    }
    if (quota_option_->count() != 0) limits.monthly_quota = limits_.monthly_quota;
    const std::int64_t now = clock_.UnixMillis();
    if (auto set = store_->keys().SetLimits(owner, limits, now); !set) return Fails(set.error());
    const auto noted = store_->audit().Append({.time_unix_ms = now,
                                               .owner = owner,
                                               .action = "account.limits_set",
                                               .target = owner.str()});
    if (!noted) Complain(kExitFailure, "the audit log lacks this: " + noted.error().message);
    return Show(owner, limits);
  }

  int Show(const schema::OwnerId& owner, const store::AccountLimits& limits) {
    const auto used = store_->usage().AcceptedThisMonth(owner, clock_.UnixMillis());
    if (!used) return Fails(used.error());
    if (json_) {
      const nlohmann::json document{{"account", owner.str()},
                                    {"concurrency", limits.concurrency},
                                    {"executions_per_minute", limits.executions_per_minute},
                                    {"monthly_quota", limits.monthly_quota},
                                    {"used_this_month", *used}};
      std::printf("%s\n", schema::DumpJson(document).c_str());
      return kExitOk;
    }
    const auto shown = [](std::uint64_t limit) {
      return limit == 0 ? std::string("no limit") : std::to_string(limit);
    };
    std::printf("account              %s\n", owner.str().c_str());
    std::printf("at the same time     %s\n", shown(limits.concurrency).c_str());
    std::printf("a minute and key     %s\n", shown(limits.executions_per_minute).c_str());
    std::printf("a month              %s, %" PRIu64 " used\n", shown(limits.monthly_quota).c_str(),
                *used);
    return kExitOk;
  }

  const SystemClock clock_;
  CLI::App* const app_;
  Settings settings_;
  CLI::App* show_ = nullptr;
  CLI::App* set_ = nullptr;
  CLI::Option* concurrency_option_ = nullptr;
  CLI::Option* per_minute_option_ = nullptr;
  CLI::Option* quota_option_ = nullptr;
  std::string database_;
  std::string data_dir_ = "./var";
  std::string account_;
  store::AccountLimits limits_;
  bool json_ = false;
  std::unique_ptr<store::Store> store_;
};

}  // namespace

std::unique_ptr<Command> MakeAccountsCommand(CLI::App& program) {
  return std::make_unique<AccountsCommand>(program);
}

}  // namespace forkbox::cli
