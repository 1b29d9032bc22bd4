// StrongId<Tag>: a string that names one kind of thing, so that ids of two kinds never mix.
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <utility>

namespace forkbox {

template <class Tag>
class StrongId {
 public:
  StrongId() = default;
  explicit StrongId(std::string value) : value_(std::move(value)) {}
  [[nodiscard]] const std::string& str() const { return value_; }
  [[nodiscard]] bool empty() const { return value_.empty(); }
  auto operator<=>(const StrongId&) const = default;

 private:
  std::string value_;
};

}  // namespace forkbox

template <class Tag>
struct std::hash<forkbox::StrongId<Tag>> {
  std::size_t operator()(const forkbox::StrongId<Tag>& id) const noexcept {
    return std::hash<std::string>{}(id.str());
  }
};
