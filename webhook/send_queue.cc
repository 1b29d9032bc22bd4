#include "webhook/send_queue.h"

#include <algorithm>
#include <utility>

#include "webhook/url_check.h"

namespace forkbox::webhook {

void SendQueue::Add(store::Delivery delivery, SteadyTime claim_ends) {
  std::string host = WebhookHost(delivery.url);
  Lane& host_lane = hosts_[host];
  Lane& owner_lane = owners_[delivery.owner.str()];
  ++host_lane.waiting;
  ++owner_lane.waiting;
  waiting_.push_back({{std::move(delivery), claim_ends, std::move(host)}, &host_lane, &owner_lane});
  if (IsTooMany(waiting_.back())) Remove();
}

std::optional<SendQueue::Entry> SendQueue::Next(SteadyTime needed_until) {
  std::erase_if(waiting_, [&](const Waiting& one) {
    if (one.entry.claim_ends >= needed_until) return false;
    Leave(one);
    return true;
  });
  if (in_flight_ >= limits_.in_flight) return std::nullopt;
  const auto place = std::find_if(waiting_.begin(), waiting_.end(),
                                  [&](const Waiting& one) { return MayGo(one); });
  if (place == waiting_.end()) return std::nullopt;
  ++in_flight_;
  ++place->host->in_flight;
  ++place->owner->in_flight;
  Leave(*place);
  Entry entry = std::move(place->entry);
  waiting_.erase(place);
  return entry;
}

void SendQueue::Done(const Entry& entry, std::chrono::milliseconds duration) {
  --in_flight_;
  const std::string& owner = entry.delivery.owner.str();
  const bool slow = duration >= limits_.slow;
  for (Lane* const lane : {&hosts_.at(entry.host), &owners_.at(owner)}) {
    --lane->in_flight;
    lane->slow = slow;
  }
  if (slow) {
    std::erase_if(waiting_, [&](const Waiting& one) {
      if (!IsTooMany(one)) return false;
      Leave(one);
      return true;
    });
  }
  ForgetIfIdle(hosts_, entry.host);
  ForgetIfIdle(owners_, owner);
}

std::optional<SendQueue::Entry> SendQueue::Remove() {
  if (waiting_.empty()) return std::nullopt;
  Leave(waiting_.back());
  Entry entry = std::move(waiting_.back().entry);
  waiting_.pop_back();
  return entry;
}

bool SendQueue::MayGo(const Waiting& one) const {
  return one.host->in_flight < limits_.in_flight_per_host &&
         (one.owner->in_flight < limits_.in_flight_per_owner || one.entry.delivery.owner.empty());
}

bool SendQueue::IsTooMany(const Waiting& one) const {
  const auto crowded = [&](const Lane& lane) {
    return lane.slow && lane.waiting > limits_.waiting_when_slow;
  };
  return crowded(*one.host) || (crowded(*one.owner) && !one.entry.delivery.owner.empty());
}

void SendQueue::Leave(const Waiting& one) {
  --one.host->waiting;
  --one.owner->waiting;
  ForgetIfIdle(hosts_, one.entry.host);
  ForgetIfIdle(owners_, one.entry.delivery.owner.str());
}

void SendQueue::ForgetIfIdle(Lanes& lanes, const std::string& name) {
  const auto lane = lanes.find(name);
  if (lane != lanes.end() && lane->second.in_flight == 0 && lane->second.waiting == 0) {
    lanes.erase(lane);
  }
}

}  // namespace forkbox::webhook
