function down() {
  return down() + 1;
}
try {
  down();
} catch (error) {
  console.log(error.constructor.name, error.message);
}
