#include "queue/broker.h"

#include <future>
#include <utility>

namespace forkbox::queue {

Result<void> Broker::Publish(Message message) {
  // Shared with the callback: it may come after we stopped waiting.
  auto answer = std::make_shared<std::promise<Result<void>>>();
  std::future<Result<void>> answered = answer->get_future();
  PublishAsync(std::move(message),
               [answer](Result<void> result) { answer->set_value(std::move(result)); });
  if (answered.wait_for(2 * kPublishTimeout) != std::future_status::ready) {
    return Fail(ErrorCode::kDeadlineExceeded, "the broker did not answer");
  }
  return answered.get();
}

}  // namespace forkbox::queue
