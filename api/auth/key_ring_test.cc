#include "api/auth/key_ring.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <set>
#include <thread>

#include "api/auth/new_key.h"
#include "api/auth/permission.h"
#include "api/auth/stored_key.h"
#include "api/testing_fakes.h"

namespace forkbox::api {
namespace {

using std::chrono::milliseconds;

KeyEntry FileKey(std::string_view key) {
  KeyEntry entry;
  entry.digest = KeyDigest::Of(key);
  return entry;
}

class KeyRingTest : public ::testing::Test {
 protected:
  KeyRing::Options Quick() {
    KeyRing::Options options;
    options.poll_interval = milliseconds(5);
    options.flush_interval = milliseconds(5);
    options.limits_life = milliseconds(0);
    return options;
  }
  void Start(KeyRing::Options options) {
    ring_ = std::make_unique<KeyRing>(options, file_keys_, store_, clock_, Log::Null());
    ASSERT_TRUE(ring_->Start());
  }
  // As if another process had made it.
  NewKey Make(const std::string& owner = "acme", store::KeyPermissions can = kFullAccess) {
    auto made = MakeNewKey(clock_.UnixMillis());
    EXPECT_TRUE(made);
    made->key.owner = schema::OwnerId(owner);
    made->key.permissions = can;
    EXPECT_TRUE(store_.Create(made->key, made->digest.Hex()));
    return *made;
  }
  // Check() as a handler sees it, behind the gate.
  tl::expected<KeyIdentity, KeyProblem> Ask(const std::string& key) {
    std::mutex mutex;
    std::condition_variable changed;
    bool ready = false;
    ring_->Prepare(key, [&] {
      const std::lock_guard lock(mutex);
      ready = true;
      changed.notify_one();
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return ready; });
    return ring_->Check(key);
  }
  template <class What>
  static bool Eventually(What what) {
    for (int i = 0; i < 10'000; ++i) {
      if (what()) return true;
      std::this_thread::sleep_for(milliseconds(1));
    }
    return false;
  }

  FakeClock clock_;
  testing::FakeKeys store_;
  Authenticator file_keys_{{FileKey("zb_live_of_the_file"), FileKey("zb_demo_of_the_file")}};
  std::unique_ptr<KeyRing> ring_;
};

KeyRing::Options Idle() {
  KeyRing::Options options;
  options.poll_interval = std::chrono::hours(1);
  return options;
}

TEST_F(KeyRingTest, KnowsTheKeysOfTheStoreFromTheStartAndTheFilesToo) {
  const NewKey made = Make("acme", kExecuteOnly);
  ASSERT_TRUE(store_.SetLimits(schema::OwnerId("acme"), {7, 3, 1000}, 0));
  Start(Idle());
  const auto stored = Ask(made.text);
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->owner.str(), "acme");
  EXPECT_EQ(stored->key_id, made.key.id);
  EXPECT_EQ(stored->permissions, kExecuteOnly);
  EXPECT_EQ(stored->limits, (store::AccountLimits{7, 3, 1000}));
  EXPECT_EQ(stored->label.find(made.text.substr(10, 20)), std::string::npos);
  EXPECT_EQ(store_.lookups, 0) << "it was in memory";

  const auto of_file = Ask("zb_live_of_the_file");
  ASSERT_TRUE(of_file);
  EXPECT_EQ(of_file->permissions, kFullAccess);
  EXPECT_EQ(of_file->owner.str(), of_file->key_id.str());
  EXPECT_EQ(of_file->limits, store::AccountLimits{});
  // A key that everybody has may make no keys.
  EXPECT_EQ(Ask("zb_demo_of_the_file")->permissions, kExecuteOnly);
}

TEST_F(KeyRingTest, AKeyMadeElsewhereWorksAtOnce) {
  Start(Idle());
  const NewKey made = Make();
  EXPECT_TRUE(Ask(made.text));
  EXPECT_EQ(store_.lookups, 1);
  EXPECT_TRUE(Ask(made.text));
  EXPECT_EQ(store_.lookups, 1) << "and is in memory then";
}

TEST_F(KeyRingTest, WhatChangesElsewhereActsSoon) {
  const NewKey made = Make();
  Start(Quick());
  ASSERT_TRUE(Ask(made.text));
  const schema::OwnerId acme("acme");
  store::KeyChange disable;
  disable.enabled = false;
  ASSERT_TRUE(store_.Change(acme, made.key.id, disable, 1));
  EXPECT_TRUE(Eventually([&] {
    const auto now = Ask(made.text);
    return !now && now.error() == KeyProblem::kDisabled;
  }));
  ASSERT_TRUE(store_.SetLimits(acme, {1, 1, 1}, 1));
  store::KeyChange enable;
  enable.enabled = true;
  ASSERT_TRUE(store_.Change(acme, made.key.id, enable, 1));
  EXPECT_TRUE(Eventually([&] {
    const auto now = Ask(made.text);
    return now && now->limits == store::AccountLimits{1, 1, 1};
  }));
  ASSERT_TRUE(store_.Revoke(acme, made.key.id, 5));
  EXPECT_TRUE(Eventually([&] {
    const auto now = Ask(made.text);
    return !now && now.error() == KeyProblem::kRevoked;
  }));
}

TEST_F(KeyRingTest, WhatThisProcessChangesActsAtOnce) {
  Start(Idle());
  auto made = MakeNewKey(clock_.UnixMillis());
  made->key.owner = schema::OwnerId("acme");
  ring_->Put(made->digest, made->key);
  EXPECT_TRUE(Ask(made->text));
  ring_->Update(made->key.id,
                [&](store::ApiKey* key) { key->expires_unix_ms = clock_.UnixMillis() + 10; });
  EXPECT_TRUE(ring_->Check(made->text));
  clock_.Advance(milliseconds(10));
  EXPECT_EQ(ring_->Check(made->text).error(), KeyProblem::kExpired);
  ring_->Update(made->key.id, [](store::ApiKey* key) { key->revoked_unix_ms = 1; });
  EXPECT_EQ(ring_->Check(made->text).error(), KeyProblem::kRevoked);
}

TEST_F(KeyRingTest, TheFirstKeyTurnsKeysOnAndNothingTurnsThemOff) {
  const Authenticator none{{}};
  KeyRing ring(Quick(), none, store_, clock_, Log::Null());
  ASSERT_TRUE(ring.Start());
  EXPECT_FALSE(ring.enabled());
  const auto nobody = ring.Check("anything");
  ASSERT_TRUE(nobody);
  EXPECT_EQ(nobody->owner.str(), "");
  EXPECT_EQ(nobody->limits, (store::AccountLimits{0, 0, 0})) << "none";
  const NewKey made = Make();
  EXPECT_TRUE(Eventually([&] { return ring.enabled(); }));
  ASSERT_TRUE(store_.Revoke(schema::OwnerId("acme"), made.key.id, 1));
  KeyRing later(Idle(), none, store_, clock_, Log::Null());
  ASSERT_TRUE(later.Start());
  EXPECT_TRUE(later.enabled()) << "or the last revoked key would open the door to everybody";
}

TEST_F(KeyRingTest, FloodsOfMadeUpKeysCostLittle) {
  KeyRing::Options options = Idle();
  options.max_unknown = 50;
  Start(options);
  // What does not look like ours is not even asked about.
  for (const char* key : {"", "x", "zb_live_unknown", "exec0_", "exec0_short",
                          "exec0_0123456789012345678901234567890!"}) {
    EXPECT_EQ(Ask(key).error(), KeyProblem::kUnknown) << key;
  }
  EXPECT_EQ(store_.lookups, 0);
  const std::string made_up = *NewStoredKey();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Ask(made_up).error(), KeyProblem::kUnknown);
  EXPECT_EQ(store_.lookups, 1) << "the answer is remembered";
  clock_.Advance(options.unknown_life);
  EXPECT_EQ(Ask(made_up).error(), KeyProblem::kUnknown);
  EXPECT_EQ(store_.lookups, 2) << "but not for long";
  for (int i = 0; i < 200; ++i) EXPECT_EQ(Ask(*NewStoredKey()).error(), KeyProblem::kUnknown);
  EXPECT_EQ(Ask(made_up).error(), KeyProblem::kUnknown);
  EXPECT_EQ(store_.lookups, 203) << "and not beyond the bound";
}

TEST_F(KeyRingTest, WhenTooManyAreAskedAboutTheRestIsToldToComeBack) {
  const NewKey known = Make();
  KeyRing::Options options = Idle();
  Start(options);
  ASSERT_TRUE(Ask(known.text)) << "and its account's limits are known";
  ring_->Stop();  // nothing is asked any more, as if all places were taken
  EXPECT_EQ(Ask(*NewStoredKey()).error(), KeyProblem::kUnavailable);
  EXPECT_TRUE(Ask(known.text));
  options.max_waiting_lookups = 0;
  KeyRing full(options, file_keys_, store_, clock_, Log::Null());
  ASSERT_TRUE(full.Start());
  const NewKey fresh = Make();
  bool ready = false;
  full.Prepare(fresh.text, [&] { ready = true; });
  EXPECT_TRUE(ready) << "at once";
  EXPECT_EQ(full.Check(fresh.text).error(), KeyProblem::kUnavailable);
  // Known keys have places of their own, but nobody gets limits that are not his.
  EXPECT_EQ(full.Check(known.text).error(), KeyProblem::kUnavailable);
  std::promise<void> asked;
  full.Prepare(known.text, [&] { asked.set_value(); });
  asked.get_future().wait();
  EXPECT_TRUE(full.Check(known.text));
}

TEST_F(KeyRingTest, LimitsThatCannotBeReadAreNotMadeUp) {
  const NewKey known = Make();
  ASSERT_TRUE(store_.SetLimits(schema::OwnerId("acme"), {7, 3, 1000}, 0));
  const KeyRing::Options options = Idle();
  Start(options);
  EXPECT_TRUE(ring_->Holds(known.text));
  EXPECT_TRUE(ring_->Holds("zb_live_of_the_file"));
  EXPECT_FALSE(ring_->Holds(*NewStoredKey()));
  EXPECT_FALSE(ring_->Holds(""));
  store_.away = true;
  EXPECT_EQ(Ask(known.text).error(), KeyProblem::kUnavailable);
  EXPECT_EQ(Ask("zb_live_of_the_file").error(), KeyProblem::kUnavailable);
  store_.away = false;
  EXPECT_EQ(Ask(known.text).error(), KeyProblem::kUnavailable) << "not asked again at once";
  clock_.Advance(options.unavailable_life);
  EXPECT_EQ(Ask(known.text)->limits, (store::AccountLimits{7, 3, 1000}));
}

TEST_F(KeyRingTest, WhatIsOlderMakesNoKeyGoodAgain) {
  const NewKey made = Make();
  const schema::OwnerId acme("acme");
  Start(Idle());
  ASSERT_TRUE(Ask(made.text));
  // Two changes at once: that which was committed first is told of last.
  store::KeyChange enable, disable;
  enable.enabled = true;
  disable.enabled = false;
  const auto older = store_.Change(acme, made.key.id, enable, 1);
  ASSERT_TRUE(store_.Change(acme, made.key.id, disable, 2));
  ring_->Update(made.key.id, [](store::ApiKey* key) { key->enabled = false; });
  ring_->Update(made.key.id, [&](store::ApiKey* key) { *key = *older; });
  EXPECT_EQ(ring_->Check(made.text).error(), KeyProblem::kDisabled);
  ring_->Put(made.digest, made.key);
  EXPECT_EQ(ring_->Check(made.text).error(), KeyProblem::kDisabled);
  ASSERT_TRUE(store_.Revoke(acme, made.key.id, 3));
  ring_->Update(made.key.id, [](store::ApiKey* key) { key->revoked_unix_ms = 3; });
  store_.away = true;
  ring_->Update(made.key.id, [&](store::ApiKey* key) { *key = *older; });
  EXPECT_EQ(ring_->Check(made.text).error(), KeyProblem::kRevoked) << "that is for good";
}

TEST_F(KeyRingTest, ALookUpThatAChangeMetIsAskedAgain) {
  Start(Idle());
  const NewKey made = Make();
  store_.after_lookup = [&] {  // it is revoked while the answer is on its way here
    store_.after_lookup = nullptr;
    ASSERT_TRUE(store_.Revoke(schema::OwnerId("acme"), made.key.id, 1));
    ring_->Update(made.key.id, [](store::ApiKey* key) { key->revoked_unix_ms = 1; });
  };
  EXPECT_EQ(Ask(made.text).error(), KeyProblem::kRevoked);
}

TEST_F(KeyRingTest, ManyThreadsAskAndChangeAtTheSameTime) {
  Start(Quick());
  std::vector<NewKey> keys;
  for (int i = 0; i < 20; ++i) keys.push_back(Make("account " + std::to_string(i % 3)));
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const NewKey& key = keys[static_cast<std::size_t>(i * (t + 1)) % keys.size()];
        EXPECT_TRUE(Ask(key.text));
        EXPECT_EQ(Ask(*NewStoredKey()).error(), KeyProblem::kUnknown);
        ring_->Update(key.key.id, [&](store::ApiKey* changed) { changed->name += 'x'; });
      }
    });
  }
  threads.clear();
}

TEST_F(KeyRingTest, WithoutTheStoreKnownKeysGoOnAndUnknownOnesAreNotCalledWrong) {
  const NewKey known = Make();
  Start(Quick());
  const NewKey fresh = Make("other");
  ASSERT_TRUE(Ask(known.text));
  store_.away = true;
  EXPECT_TRUE(Ask(known.text));
  const std::string made_up = *NewStoredKey();
  EXPECT_EQ(Ask(made_up).error(), KeyProblem::kUnavailable);
  EXPECT_EQ(Ask("zb_live_unknown").error(), KeyProblem::kUnknown) << "that is certain";
  store_.away = false;
  clock_.Advance(Quick().unavailable_life);
  EXPECT_EQ(Ask(made_up).error(), KeyProblem::kUnknown);
  EXPECT_TRUE(Ask(fresh.text));
}

TEST_F(KeyRingTest, AServerThatCannotReadItsKeysDoesNotStart) {
  store_.away = true;
  KeyRing ring(Idle(), file_keys_, store_, clock_, Log::Null());
  const auto started = ring.Start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::kUnavailable);
}

TEST_F(KeyRingTest, NotesWhenKeysWereLastUsedAtMostOnceAMinute) {
  const NewKey made = Make();
  Start(Quick());
  EXPECT_EQ(ring_->LastUsed(made.key.id), 0);
  ASSERT_TRUE(Ask(made.text));
  const std::int64_t first = clock_.UnixMillis();
  EXPECT_EQ(ring_->LastUsed(made.key.id), first);
  const auto stored = [&] { return (*store_.FindByDigest(made.digest.Hex()))->last_used_unix_ms; };
  EXPECT_TRUE(Eventually([&] { return stored() == first; }));
  clock_.Advance(milliseconds(1'000));
  ASSERT_TRUE(Ask(made.text));
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(stored(), first) << "not yet again";
  ring_->Stop();
  EXPECT_EQ(stored(), first + 1'000) << "but before the process ends";
}

TEST(StoredKeyTest, AreLongRandomAndFair) {
  std::set<std::string> keys;
  std::map<char, int> seen;
  for (int i = 0; i < 2'000; ++i) {
    const auto key = NewStoredKey();
    ASSERT_TRUE(key);
    EXPECT_TRUE(LooksLikeStoredKey(*key)) << *key;
    EXPECT_EQ(PrefixOfKey(*key), key->substr(0, 10));
    keys.insert(*key);
    for (const char c : key->substr(6)) ++seen[c];
  }
  EXPECT_EQ(keys.size(), 2'000U);
  // 64,000 characters of 62 kinds: 1,032 of each, give or take 32; ten times that is no accident.
  ASSERT_EQ(seen.size(), 62U);
  for (const auto& [c, count] : seen) EXPECT_NEAR(count, 1'032, 320) << c;
}

}  // namespace
}  // namespace forkbox::api
