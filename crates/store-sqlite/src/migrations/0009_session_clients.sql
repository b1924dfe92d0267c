-- Whose session it is among the clients of an account, as far as they tell that.
ALTER TABLE sessions ADD COLUMN client TEXT;
