// Collects what became of the executions of a batch, in request order, and answers with the last.
#pragma once

#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "api/http/fields.h"
#include "api/http/reply.h"

namespace forkbox::api {

// Thread-safe. Shared by the callbacks of its items, which come from any thread in any order.
class Exec0BatchReply {
 public:
  // `headers` is asked for when all is in.
  Exec0BatchReply(http::Reply reply, int status, std::size_t items,
                  std::function<http::Fields()> headers)
      : reply_(std::move(reply)),
        status_(status),
        headers_(std::move(headers)),
        results_(items),
        missing_(items) {}

  // Once for each item: its document or the error in its place, as JSON.
  void Put(std::size_t index, std::string result) {
    {
      const std::lock_guard lock(mutex_);
      results_[index] = std::move(result);
      if (--missing_ > 0) return;
    }
    // Nobody else comes here any more.
    std::string body = R"({"results":[)";
    for (std::size_t i = 0; i < results_.size(); ++i) {
      if (i > 0) body += ',';
      body += results_[i];
    }
    http::Fields headers = headers_();
    headers.push_back({"Cache-Control", "no-store"});
    reply_.Send(status_, "application/json", body += "]}", headers);
  }

 private:
  http::Reply reply_;
  const int status_;
  const std::function<http::Fields()> headers_;
  std::mutex mutex_;
  std::vector<std::string> results_;  // guarded by mutex_ until the last is in
  std::size_t missing_;               // guarded by mutex_
};

}  // namespace forkbox::api
