#include "store/database.h"

#include <utility>

namespace forkbox::store {

Result<std::vector<Rows>> Connection::ExecuteAll(std::span<const Statement> statements) {
  std::vector<Rows> answers;
  answers.reserve(statements.size());
  for (const Statement& statement : statements) {
    Result<Rows> answer = Execute(statement.sql, statement.params);
    if (!answer) return Fail(std::move(answer).error());
    answers.push_back(std::move(*answer));
  }
  return answers;
}

Result<std::vector<Rows>> Connection::ExecuteAllAndCommit(std::span<const Statement> statements) {
  Result<std::vector<Rows>> answers = ExecuteAll(statements);
  if (!answers) return answers;
  Result<void> committed = Commit();
  if (!committed) return Fail(std::move(committed).error());
  return answers;
}

}  // namespace forkbox::store
