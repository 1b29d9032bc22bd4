// What the gate does with connections that were taken: a handler that fails behind it must not
// leave the client without an answer.
#include "api/auth/key_gate.h"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <stdexcept>
#include <string>

#include "api/testing_fakes.h"

namespace forkbox::api {
namespace {

class FakeTaken final : public http::TakenConnection {
 public:
  explicit FakeTaken(std::promise<int>* answered) : answered_(answered) {}

  Result<std::size_t> ReadBody(std::span<char>) override { return std::size_t{0}; }
  Result<std::size_t> Read(std::span<char>, Deadline) override { return std::size_t{0}; }
  Result<void> Write(std::string_view, Deadline) override { return {}; }
  Result<void> Answer(int status, std::string_view, std::string_view,
                      const http::Fields&) override {
    answered_->set_value(status);
    return {};
  }
  void SetStatus(int) override {}
  [[nodiscard]] int socket() const override { return -1; }
  [[nodiscard]] bool HasReadAhead() const override { return false; }
  void Cut() override {}

 private:
  std::promise<int>* const answered_;
};

TEST(KeyGateTest, AnswersATakenCallWhoseHandlerFailsAfterItWasSetAside) {
  FakeClock clock;
  testing::FakeKeys store;
  KeyEntry entry;
  entry.digest = KeyDigest::Of("zb_live_of_the_file");
  Authenticator file_keys{{entry}};
  KeyRing ring({}, file_keys, store, clock, Log::Null());
  ASSERT_TRUE(ring.Start());
  const http::Handler handler =
      BehindKeyGate(ring, [](http::Call&) { throw std::runtime_error("out of luck"); });

  std::promise<int> answered;
  http::Call call;
  call.fields = {{"Authorization", "Bearer exec0_" + std::string(32, 'n')}};
  call.taken = std::make_shared<FakeTaken>(&answered);
  handler(call);
  auto status = answered.get_future();
  ASSERT_EQ(status.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  EXPECT_EQ(status.get(), 500);
  ring.Stop();
}

}  // namespace
}  // namespace forkbox::api
