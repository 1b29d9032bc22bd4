// TakenTrial: a TrialServer whose tree /take gives each connection to a thread of its own, but for
// /take/not, which is answered as ever.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "api/http/server.h"
#include "tests/http/trial_server.h"

namespace forkbox::http {

// What came of one taken connection; runs on its thread.
using Taker = std::function<void(Call& call, TakenConnection& taken)>;

class TakenTrial {
 public:
  explicit TakenTrial(Taker taker, Server::Options options = {},
                      std::uint64_t max_body = 16ULL << 30);
  ~TakenTrial();  // stops the server, then joins

  TrialServer& trial() { return *trial_; }
  [[nodiscard]] HttpClient Connect(int receive_buffer_bytes = 0) const {
    return trial_->Connect(receive_buffer_bytes);
  }
  // Every request that has ended: "route status".
  [[nodiscard]] std::vector<std::string> records() const;
  // Joins the threads whose connections have ended; those must not wait for the client any more.
  void Join();

 private:
  mutable std::mutex mutex_;
  std::vector<std::thread> threads_;  // by mutex_
  std::vector<std::string> records_;  // by mutex_
  std::unique_ptr<TrialServer> trial_;
};

}  // namespace forkbox::http
