#include "store/delivery_store.h"

#include <array>
#include <utility>

namespace forkbox::store {
namespace {

constexpr std::array<std::pair<DeliveryState, std::string_view>, 3> kNames{
    {{DeliveryState::kPending, "pending"},
     {DeliveryState::kDelivered, "delivered"},
     {DeliveryState::kDead, "dead"}}};

}  // namespace

std::string_view ToString(DeliveryState state) {
  for (const auto& [value, name] : kNames) {
    if (value == state) return name;
  }
  return "dead";
}

std::optional<DeliveryState> ParseDeliveryState(std::string_view word) {
  for (const auto& [value, name] : kNames) {
    if (name == word) return value;
  }
  return std::nullopt;
}

}  // namespace forkbox::store
