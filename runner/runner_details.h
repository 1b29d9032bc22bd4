// RunnerDetails: what a runner can do, as it tells the rest of the cluster by way of the store
// (store::RunnerInfo::details_json).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runner/sandbox/driver.h"

namespace forkbox::runner {

struct RunnerDetails {
  std::vector<sandbox::LanguageStatus> languages;
  std::vector<std::string> missing_protections;
};

std::string RunnerDetailsToJson(const RunnerDetails& details);

// kInvalidArgument for what no runner of any version wrote.
Result<RunnerDetails> RunnerDetailsFromJson(std::string_view text);

}  // namespace forkbox::runner
