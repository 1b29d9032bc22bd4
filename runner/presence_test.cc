#include "runner/presence.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "runner/testing_fakes.h"

namespace forkbox::runner {
namespace {

using namespace std::chrono_literals;

class FakeRegistry final : public store::RunnerRegistry {
 public:
  Result<void> Beat(const store::RunnerInfo& runner) override {
    const std::lock_guard lock(mu_);
    beats_.push_back(runner);
    changed_.notify_all();
    return {};
  }
  Result<void> Leave(const std::string& runner_id) override {
    const std::lock_guard lock(mu_);
    left_ = runner_id;
    return {};
  }
  Result<std::vector<store::RunnerInfo>> AliveRunners(std::int64_t) override {
    const std::lock_guard lock(mu_);
    return beats_;
  }
  Result<std::optional<store::RunnerInfo>> LastRunner() override { return std::nullopt; }
  store::RunnerInfo Await(std::size_t beats) {
    std::unique_lock lock(mu_);
    changed_.wait_for(lock, 30s, [&] { return beats_.size() >= beats; });
    return beats_.back();
  }
  std::string left() {
    const std::lock_guard lock(mu_);
    return left_;
  }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  std::vector<store::RunnerInfo> beats_;
  std::string left_;
};

sandbox::LanguageStatus Python() {
  sandbox::LanguageStatus python;
  python.id = "python";
  python.aliases = {"py", "python3"};
  python.name = "Python";
  python.version = "3.11.2";
  python.ready = true;
  python.default_limits.memory_bytes = 123ULL << 20;
  python.execution_model = languages::ExecutionModel::kTranspiled;
  python.extensions = {".py", ".pyw"};
  return python;
}

TEST(PresenceTest, KeepsItsClaimsAndTakesItsLeave) {
  SystemClock clock;
  testing::FakeStore store;
  FakeRegistry registry;
  schema::Execution execution;
  execution.id = schema::ExecutionId("a");
  ASSERT_TRUE(store.Insert(execution));
  const std::int64_t now = clock.UnixMillis();
  ASSERT_TRUE(store.Claim(
      {.id = execution.id, .runner = "r", .now_unix_ms = now, .expires_unix_ms = now + 10}));
  {
    Presence presence(
        {.runner_id = "r", .host = "h", .slots = 3, .interval = 5ms}, store, registry,
        [] {
          return Presence::Now{
              .busy = 1, .holds_claims = true, .details = {{Python()}, {"seccomp"}}};
        },
        clock, Log::Null());
    const store::RunnerInfo beat = registry.Await(3);
    EXPECT_EQ(beat.id, "r");
    EXPECT_EQ(beat.slots, 3U);
    EXPECT_EQ(beat.busy, 1U);
    EXPECT_GE(store.renewals, 2);
    EXPECT_GE(store.Get(execution.id, std::nullopt)->claim_expires_unix_ms, now + 10'000);
    EXPECT_EQ(registry.left(), "");
  }
  EXPECT_EQ(registry.left(), "r");
}

TEST(PresenceTest, WithoutClaimsNothingIsRenewed) {
  SystemClock clock;
  testing::FakeStore store;
  FakeRegistry registry;
  Presence presence(
      {.runner_id = "r", .host = "h", .slots = 1, .interval = 1ms}, store, registry,
      [] { return Presence::Now{}; }, clock, Log::Null());
  registry.Await(5);
  EXPECT_EQ(store.renewals, 0);
}

TEST(RunnerDetailsTest, ComeBackAsTheyWent) {
  const auto read = RunnerDetailsFromJson(RunnerDetailsToJson({{Python()}, {"cgroups"}}));
  ASSERT_TRUE(read);
  ASSERT_EQ(read->languages.size(), 1U);
  EXPECT_EQ(read->languages[0].id, "python");
  EXPECT_EQ(read->languages[0].aliases, Python().aliases);
  EXPECT_EQ(read->languages[0].version, "3.11.2");
  EXPECT_TRUE(read->languages[0].ready);
  EXPECT_EQ(read->languages[0].default_limits, Python().default_limits);
  EXPECT_EQ(read->languages[0].execution_model, Python().execution_model);
  EXPECT_EQ(read->languages[0].extensions, Python().extensions);
  EXPECT_EQ(read->missing_protections, std::vector<std::string>{"cgroups"});
}

TEST(RunnerDetailsTest, VirtualMachinesComeBackAsTheyWent) {
  EXPECT_FALSE(RunnerDetailsFromJson(R"({"languages":[]})")->vm) << "of a version without them";
  RunnerDetails details{{Python()}, {}};
  VmService& vm = details.vm.emplace();
  vm.status = {.state = sandbox::vm::VmState::kRebuilding,
               .accelerator = "tcg",
               .design = "live",
               .reason = "its template died",
               .kvm = "no such device",
               .image = "0123",
               .ram_bytes = 2ULL << 30,
               .templates_booted = 7};
  vm.languages = {Python()};
  vm.languages[0].ready = false;
  vm.languages[0].functions = true;
  vm.most_memory_bytes = 1ULL << 30;
  vm.machines_ready = 3;
  const auto read = RunnerDetailsFromJson(RunnerDetailsToJson(details));
  ASSERT_TRUE(read && read->vm);
  EXPECT_EQ(read->vm->status.state, sandbox::vm::VmState::kRebuilding);
  EXPECT_EQ(read->vm->status.accelerator, "tcg");
  EXPECT_EQ(read->vm->status.design, "live");
  EXPECT_EQ(read->vm->status.reason, "its template died");
  EXPECT_EQ(read->vm->status.kvm, "no such device");
  EXPECT_EQ(read->vm->status.image, "0123");
  EXPECT_EQ(read->vm->status.ram_bytes, 2ULL << 30);
  EXPECT_EQ(read->vm->status.templates_booted, 7U);
  ASSERT_EQ(read->vm->languages.size(), 1U);
  EXPECT_FALSE(read->vm->languages[0].ready);
  EXPECT_TRUE(read->vm->languages[0].functions);
  EXPECT_EQ(read->vm->languages[0].aliases, Python().aliases);
  EXPECT_EQ(read->vm->most_memory_bytes, 1ULL << 30);
  EXPECT_EQ(read->vm->machines_ready, 3U);
  ASSERT_EQ(read->languages.size(), 1U);
  EXPECT_TRUE(read->languages[0].ready);
}

TEST(RunnerDetailsTest, AStateOfALaterVersionPromisesNothing) {
  const auto read =
      RunnerDetailsFromJson(R"({"languages":[],"vm":{"state":"dreaming","languages":[]}})");
  ASSERT_TRUE(read && read->vm);
  EXPECT_EQ(read->vm->status.state, sandbox::vm::VmState::kFailed);
}

TEST(RunnerDetailsTest, DamageIsRefused) {
  for (const char* text : {"", "[]", "{}", R"({"languages":1})", R"({"languages":[1]})",
                           R"({"languages":[{"id":"x","limits":{"pids":"many"}}]})",
                           R"({"languages":[],"vm":{"state":"ready"}})",
                           R"({"languages":[],"vm":{"languages":[{"limits":[]}]}})"}) {
    EXPECT_FALSE(RunnerDetailsFromJson(text)) << text;
  }
}

}  // namespace
}  // namespace forkbox::runner
