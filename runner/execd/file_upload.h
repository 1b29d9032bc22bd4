// Files::Upload: content that goes to an agent piece by piece. One thread at a time.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runner/execd/agent_caller.h"
#include "runner/execd/files.h"

namespace forkbox::execd {

class FileUpload final : public Files::Upload {
 public:
  // `lease` waits for content, which is put in `temporary`. The caller must outlive it.
  FileUpload(AgentCaller& caller, AgentPool::Lease lease, std::string temporary,
             Permission permission)
      : caller_(caller),
        lease_(std::move(lease)),
        temporary_(std::move(temporary)),
        permission_(std::move(permission)) {}
  ~FileUpload() override;

  Result<void> Write(std::string_view bytes) override;
  Result<void> Commit() override;

 private:
  // Waits for the agent's last word.
  Result<void> Answer();
  // The agent has gone, or is of no use.
  Result<void> Abandon(const Error& why);

  AgentCaller& caller_;
  std::optional<AgentPool::Lease> lease_;  // none once it is over
  const std::string temporary_;
  const Permission permission_;
  std::optional<Error> error_;  // how it ended
};

}  // namespace forkbox::execd
