#include "tests/http/taken_trial.h"

#include <gtest/gtest.h>

#include <utility>

namespace forkbox::http {

TakenTrial::TakenTrial(Taker taker, Server::Options options, std::uint64_t max_body) {
  options.on_request = [this](const RequestRecord& record) {
    std::lock_guard lock(mutex_);
    records_.push_back(std::string(record.route) + " " + std::to_string(record.status));
  };
  trial_ = std::make_unique<TrialServer>(std::move(options));
  trial_->server().Tree(
      "/take",
      [this, taker = std::move(taker)](Call& call) {
        if (call.taken == nullptr) {
          call.reply.Send(200, "text/plain", "not taken: " + call.body);
          return;
        }
        EXPECT_EQ(call.body, "");
        EXPECT_FALSE(call.reply.Send(200, "text/plain", "nobody reads this"));
        std::lock_guard lock(mutex_);
        threads_.emplace_back([taker, call = std::move(call)]() mutable {
          const auto taken = std::exchange(call.taken, nullptr);
          taker(call, *taken);
        });
      },
      {.takes_over = [](Method, std::string_view tail, const Fields&) { return tail != "/not"; },
       .max_taken_body_bytes = max_body});
  trial_->Start();
}

TakenTrial::~TakenTrial() {
  trial_->server().Stop();
  Join();
}

std::vector<std::string> TakenTrial::records() const {
  std::lock_guard lock(mutex_);
  return records_;
}

void TakenTrial::Join() {
  std::vector<std::thread> threads;
  {
    std::lock_guard lock(mutex_);
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace forkbox::http
