// SqlDeliveryStore: the DeliveryStore over any Database.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/connection_pool.h"
#include "store/delivery_store.h"
#include "store/group_commit.h"

namespace forkbox::store {

class SqlDeliveryStore final : public DeliveryStore {
 public:
  // Both outlive this.
  SqlDeliveryStore(GroupCommit& writer, ConnectionPool& readers)
      : writer_(writer), readers_(readers) {}

  Result<std::vector<Delivery>> ClaimDue(const std::string& sender, std::int64_t now_unix_ms,
                                         std::int64_t expires_unix_ms, std::size_t limit) override;
  Result<std::string> FixBody(const DeliveryId& id, const std::string& body) override;
  Result<void> RecordAttempt(const DeliveryId& id, const std::string& sender,
                             const AttemptResult& result) override;
  Result<void> ReleaseDelivery(const DeliveryId& id, const std::string& sender) override;
  Result<std::vector<DeliveryHistory>> ListDeliveries(
      const schema::ExecutionId& execution, const std::optional<schema::OwnerId>& owner) override;
  Result<DeliveryId> Redeliver(const schema::ExecutionId& execution,
                               const std::optional<schema::OwnerId>& owner,
                               std::int64_t now_unix_ms) override;
  Result<DeliveryCounts> CountDeliveries() override;

 private:
  // kNotFound for an unknown execution, and for another owner's when `owner` is given.
  Result<void> CheckOwner(const schema::ExecutionId& execution,
                          const std::optional<schema::OwnerId>& owner);

  GroupCommit& writer_;
  ConnectionPool& readers_;
};

}  // namespace forkbox::store
