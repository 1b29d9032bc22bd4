// The rows of history: one page of an account's executions, of a hundred and of a million.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "bench/row.h"
#include "store/store.h"

namespace forkbox::bench {

class HistoryBench {
 public:
  // Two SQLite files in `folder`. Null, and said on stdout, when one cannot be filled.
  static std::unique_ptr<HistoryBench> Start(const std::string& folder);

  // The short history is the yardstick of the long one.
  void AddRows(std::vector<Row>& rows, std::size_t scale);

 private:
  std::unique_ptr<store::Store> short_;
  std::unique_ptr<store::Store> long_;
};

}  // namespace forkbox::bench
