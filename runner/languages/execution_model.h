// How a language's programs come to run, in the word that clients see.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <utility>

namespace forkbox::languages {

enum class ExecutionModel {
  kInterpreted,  // the source is what is run
  kTranspiled,   // turned into the source of another language, which is run
  kCompiled,     // turned into a program
};

inline constexpr std::array<std::pair<ExecutionModel, std::string_view>, 3> kExecutionModelNames{
    {{ExecutionModel::kInterpreted, "interpreted"},
     {ExecutionModel::kTranspiled, "transpiled"},
     {ExecutionModel::kCompiled, "compiled"}}};

constexpr std::string_view ToString(ExecutionModel model) {
  for (const auto& [value, word] : kExecutionModelNames) {
    if (value == model) return word;
  }
  return {};
}

constexpr std::optional<ExecutionModel> ParseExecutionModel(std::string_view text) {
  for (const auto& [value, word] : kExecutionModelNames) {
    if (word == text) return value;
  }
  return std::nullopt;
}

}  // namespace forkbox::languages
